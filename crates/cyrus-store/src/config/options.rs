//! The options of `imapd.conf` that cyrus-imapd 3.6.1 knows, by kind, with their defaults.
//!
//! A table of facts from `lib/imapoptions`; [`crate::config`] gives them meaning. An option that is not here is kept as it
//! is: partitions, SASL options, those of other services and those of newer versions.

/// Switches that are on unless set otherwise.
#[rustfmt::skip]
pub(crate) const SWITCHES_ON: &[&str] = &[
    "allowapop", "allowsetacl", "altnamespace", "anyoneuseracl", "caldav_allowattach", "caldav_create_attach",
    "caldav_create_default", "caldav_create_sched", "conversations_keep_existing", "ischedule_dkim_required",
    "duplicatesuppression", "flushseenstate", "httpallowcompress", "imapidresponse", "jmap_set_has_attachment",
    "jmap_vacation", "jmapsubmission_deleteonsend", "ldap_restart", "ldap_sasl", "lmtp_downcase_rcpt",
    "lmtp_strict_rfc2821", "munge8bit", "ptskrb5_convert524", "ptskrb5_strip_default_realm", "reverseuniqueids",
    "rfc3028_strict", "search_index_headers", "search_skipdiacrit", "sieve_allowreferrals", "sieve_use_lmtp_reject",
    "singleinstancestore", "skiplist_always_checkpoint", "soft_noauth", "specialusealways", "sync_try_imap",
    "username_tolower", "unix_group_enable", "unixhierarchysep",
];

/// Switches that are off unless set otherwise.
#[rustfmt::skip]
pub(crate) const SWITCHES_OFF: &[&str] = &[
    "acl_admin_implies_write", "allowallsubscribe", "allowanonymouslogin", "allowdeleted", "allownewnews",
    "allowplaintext", "allowusermoves", "annotation_allow_undefined", "annotation_callout_disable_append",
    "annotation_enable_legacy_commands", "archive_enabled", "archive_keepflagged", "auditlog",
    "generate_compiled_sieve_script", "autosubscribe_all_sharedfolders", "autocreate_post",
    "autocreate_sieve_script_compile", "autocreate_subscribe_sharedfolders_all", "autoexpunge",
    "backup_keep_previous", "caldav_accept_invalid_rrules", "caldav_allowcalendaradmin", "carddav_allowaddmember",
    "carddav_allowaddressbookadmin", "carddav_repair_vcard", "chatty", "client_bind", "createonpost",
    "conversations", "crossdomains", "crossdomains_onlyother", "debug", "delete_unsubscribe",
    "disable_user_namespace", "disable_shared_namespace", "disconnect_on_vanished_mailbox", "foolstupidclients",
    "fulldirhash", "hashimapspool", "httpallowtrace", "httpcontentmd5", "httpprettytelemetry", "ignorereference",
    "imapmagicplus", "improved_mboxlist_sort", "jmap_nonstandard_extensions", "iolog", "ldap_referrals",
    "ldap_start_tls", "ldap_verify_peer", "ldap_tls_check_peer", "literalminus", "lmtp_fuzzy_mailbox_match",
    "lmtp_over_quota_perm_failure", "lmtp_preparse", "lmtp_strict_quota", "loginuseacl", "logtimestamps",
    "mailbox_legacy_dirs", "master_bind_errors_fatal", "popsubfolders", "popuseacl", "popuseimapflags",
    "prometheus_enabled", "proxy_compress", "proxyd_allow_status_referral", "proxyd_disable_mailbox_referrals",
    "quota_use_conversations", "readonly", "reject8bit", "reverseacls", "rfc2046_strict", "rfc2047_utf8",
    "search_index_language", "search_index_parts", "search_query_language", "search_fuzzy_always",
    "search_skiphtml", "sieve_utf8fileinto", "sieve_sasl_send_unsolicited_capability", "sieveusehomedir",
    "anysievefolder", "skiplist_unsafe", "sql_usessl", "statuscache", "sync_log", "sync_log_chain", "tcp_keepalive",
    "telemetry_bysessionid", "tls_required", "tls_prefer_server_ciphers", "xbackup_enabled",
    "object_storage_enabled", "openio_autocreate", "fastmailsharing",
];

/// Whole numbers and their defaults.
#[rustfmt::skip]
pub(crate) const NUMBERS: &[(&str, &str)] = &[
    ("archive_maxsize", "1024"), ("autocreatequota", "0"), ("autocreatequotamsg", "-1"), ("autocreate_quota", "-1"),
    ("autocreate_quota_messages", "-1"), ("backup_compact_minsize", "0"), ("backup_compact_maxsize", "0"),
    ("backup_compact_work_threshold", "1"), ("boundary_limit", "1000"), ("conversations_max_thread", "100"),
    ("conversations_max_guidrecords", "5000"), ("conversations_max_guidexists", "100"),
    ("conversations_max_guidinfolder", "10"), ("event_content_size", "0"), ("icalendar_max_size", "0"),
    ("jmap_preview_length", "64"), ("jmap_max_catenate_items", "100"), ("jmap_max_size_upload", "1048576"),
    ("jmap_max_size_blob_set", "4096"), ("jmap_max_concurrent_upload", "5"), ("jmap_max_size_request", "10240"),
    ("jmap_max_concurrent_requests", "5"), ("jmap_max_calls_in_request", "50"), ("jmap_max_objects_in_get", "4096"),
    ("jmap_max_objects_in_set", "4096"), ("jmap_mail_max_size_attachments_per_email", "10240"),
    ("ldap_size_limit", "1"), ("ldap_version", "3"), ("mailbox_default_options", "0"),
    ("mailbox_maxmessages_addressbook", "0"), ("mailbox_maxmessages_calendar", "0"),
    ("mailbox_maxmessages_email", "0"), ("maxheaderlines", "1000"), ("maxlogins_per_host", "0"),
    ("maxlogins_per_user", "0"), ("maxmessagesize", "0"), ("maxquoted", "131072"), ("maxword", "131072"),
    ("mupdate_connections_max", "128"), ("mupdate_port", "3905"), ("mupdate_retry_delay", "20"),
    ("mupdate_workers_max", "50"), ("mupdate_workers_maxspare", "10"), ("mupdate_workers_minspare", "2"),
    ("mupdate_workers_start", "5"), ("partition_select_usage_reinit", "0"),
    ("partition_select_soft_usage_limit", "0"), ("poppollpadding", "1"), ("quotawarn", "90"), ("quotawarnkb", "0"),
    ("quotawarnmsg", "0"), ("rss_maxitems", "0"), ("rss_maxsynopsis", "0"), ("sasl_maximum_layer", "256"),
    ("sasl_minimum_layer", "0"), ("search_batchsize", "20"), ("search_normalisation_max", "1000"),
    ("search_maxsize", "4096"), ("search_queryscan", "5000"), ("search_snippet_length", "255"),
    ("serverlist_select_usage_reinit", "0"), ("serverlist_select_soft_usage_limit", "0"),
    ("sieve_maxscriptsize", "32"), ("sieve_maxscripts", "5"), ("srs_hashlength", "0"), ("sync_batchsize", "8192"),
    ("tcp_keepalive_cnt", "0"), ("vcard_max_size", "0"), ("caringo_port", "80"),
];

/// Durations and their defaults (empty: none); the caller decides the unit of a bare number.
#[rustfmt::skip]
pub(crate) const DURATIONS: &[(&str, &str)] = &[
    ("archive_days", ""), ("archive_after", "7d"), ("backup_retention_days", ""), ("backup_retention", "7d"),
    ("caldav_historical_age", "7d"), ("client_timeout", "10s"), ("conversations_expire_days", ""),
    ("conversations_expire_after", "90d"), ("dav_lock_timeout", "20s"), ("failedloginpause", "3s"),
    ("httpkeepalive", "20s"), ("httptimeout", "5m"), ("http_jwt_max_age", "0s"), ("imapidlepoll", "60s"),
    ("jmap_querycache_max_age", "0m"), ("jmap_max_delayed_send", "512d"), ("jmap_pushpoll", "60s"),
    ("ldap_time_limit", "5s"), ("ldap_timeout", "5s"), ("lmtptxn_timeout", "5m"), ("nntptimeout", "3m"),
    ("plaintextloginpause", ""), ("popexpiretime", "-1"), ("popminpoll", ""), ("poptimeout", "10m"),
    ("prometheus_update_freq", "10s"), ("ptscache_timeout", "3h"), ("rss_maxage", ""),
    ("sieve_duplicate_max_expiration", "90d"), ("sieve_vacation_min_response", "3d"),
    ("sieve_vacation_max_response", "90d"), ("sync_reconnect_maxwait", "20m"), ("sync_repeat_interval", "1s"),
    ("sync_timeout", "30m"), ("tcp_keepalive_idle", "0"), ("tcp_keepalive_intvl", "0"), ("timeout", "32m"),
    ("imapidletimeout", ""), ("tls_session_timeout", "24h"), ("websocket_timeout", "30m"),
    ("openio_rawx_timeout", "30s"), ("openio_proxy_timeout", "5s"),
];

/// Texts without a default.
#[rustfmt::skip]
pub(crate) const STRINGS_UNSET: &[&str] = &[
    "afspts_localrealms", "afspts_mycell", "annotation_db_path", "annotation_definitions", "annotation_callout",
    "aps_topic", "aps_topic_caldav", "aps_topic_carddav", "autocreateinboxfolders", "autosievefolders",
    "autocreate_sieve_compiled_script", "autosubscribeinboxfolders", "autosubscribesharedfolders",
    "autocreate_inbox_folders", "autocreate_sieve_folders", "autocreate_sieve_script",
    "autocreate_sieve_script_compiled", "autocreate_subscribe_folders", "autocreate_subscribe_sharedfolders",
    "backup_staging_path", "backup_db_path", "caldav_realm", "calendar_user_address_set", "carddav_realm",
    "client_bind_name", "commandmintimer", "configdirectory", "conversations_counted_flags", "cyrus_group",
    "cyrus_user", "dav_realm", "debug_command", "debug_writefail_guid", "defaultpartition", "defaultserver",
    "ischedule_dkim_domain", "ischedule_dkim_key_file", "ischedule_dkim_selector", "duplicate_db_path",
    "event_exclude_flags", "event_notifier", "force_sasl_client_mech", "httpallowcors", "httpallowedurls",
    "httpdocroot", "httplogheaders", "http_h2_altsvc", "http_jwt_key_dir", "imipnotifier",
    "jmap_emailsearch_db_path", "jmap_preview_annot", "jmap_imagesize_annot", "jmap_inlinedcids_annot",
    "ldap_authz", "ldap_bind_dn", "ldap_id", "ldap_mech", "ldap_user_attribute", "ldap_member_attribute",
    "ldap_password", "ldap_realm", "ldap_sasl_authc", "ldap_sasl_authz", "ldap_sasl_mech", "ldap_sasl_password",
    "ldap_sasl_realm", "ldap_ca_dir", "ldap_ca_file", "ldap_ciphers", "ldap_client_cert", "ldap_client_key",
    "ldap_tls_cacert_dir", "ldap_tls_cacert_file", "ldap_tls_cert", "ldap_tls_key", "ldap_tls_ciphers", "ldap_uri",
    "lock_debugtime", "mailbox_initial_flags", "mailnotifier", "mboxlist_db_path", "mboxname_lockpath",
    "mupdate_authname", "mupdate_password", "mupdate_realm", "mupdate_server", "netscapeurl", "newspeer",
    "newspostuser", "newsprefix", "newsrc_db_path", "notesmailbox", "notify_external", "partition_select_exclude",
    "plaintextloginalert", "postspec", "proc_path", "prometheus_stats_dir", "proxy_password", "proxy_realm",
    "proxyservers", "ptloader_sock", "ptscache_db_path", "quota_db_path", "restore_authname", "restore_password",
    "restore_realm", "rss_feedlist_template", "rss_realm", "search_attachment_extractor_url",
    "search_index_skip_domains", "search_index_skip_users", "search_maxtime", "search_stopword_path", "serverlist",
    "servername", "sievenotifier", "smtp_auth_authname", "smtp_auth_password", "smtp_auth_realm",
    "specialuse_extra", "specialuse_nochildren", "sql_database", "sql_passwd", "sql_user", "srs_domain",
    "srs_secrets", "srs_separator", "submitservers", "suppress_capabilities", "statuscache_db_path",
    "sync_authname", "sync_cache_db_path", "sync_host", "sync_log_channels", "sync_password", "sync_port",
    "sync_realm", "sync_rightnow_channel", "sync_shutdown_file", "syslog_prefix", "syslog_facility", "tls_ca_file",
    "tls_ca_path", "tlscache_db_path", "tls_cert_file", "tls_crl_file", "tls_client_ca_dir", "tls_client_ca_file",
    "tls_client_cert", "tls_client_key", "tls_key_file", "tls_server_ca_dir", "tls_server_ca_file",
    "tls_server_cert", "tls_server_dhparam", "tls_server_key", "tls_sessions_db_path", "userdeny_db_path",
    "virusscan_notification_template", "lmtp_catchall_mailbox", "zoneinfo_db_path", "zoneinfo_dir",
    "object_storage_dummy_spool", "openio_namespace", "openio_account", "openio_verbosity", "caringo_hostname",
];

/// Texts, names of database types, one-of-many and some-of-many options with a default.
#[rustfmt::skip]
pub(crate) const STRINGS: &[(&str, &str)] = &[
    ("addressbookprefix", "#addressbooks"), ("admins", ""), ("altprefix", "Alt Folders"),
    ("annotation_db", "twoskip"), ("auth_mech", "unix"), ("autocreate_users", "anyone"), ("backup_db", "twoskip"),
    ("caldav_allowscheduling", "on"), ("caldav_maxdatetime", "20380119T031407Z"),
    ("caldav_mindatetime", "19011213T204552Z"), ("calendarprefix", "#calendars"),
    ("calendar_default_displayname", "personal"),
    ("calendar_component_set", "VEVENT VTODO VJOURNAL VFREEBUSY VAVAILABILITY VPOLL"),
    ("conversations_db", "skiplist"), ("davdriveprefix", "#drive"), ("davnotificationsprefix", "#notifications"),
    ("defaultacl", "anyone lrs"), ("defaultdomain", "internal"), ("defaultsearchtier", ""),
    ("deletedprefix", "DELETED"), ("delete_mode", "delayed"), ("deleteright", "c"), ("duplicate_db", "twoskip"),
    ("event_content_inclusion_mode", "standard"), ("event_exclude_specialuse", "\\Junk"),
    ("event_extra_params", "timestamp"), ("event_groups", "message mailbox"), ("expunge_mode", "delayed"),
    ("httpmodules", ""), ("idlesocket", "{configdirectory}/socket/idle"), ("implicit_owner_rights", "lkxan"),
    ("jmapuploadfolder", "#jmap"), ("jmapsubmissionfolder", "#jmapsubmission"),
    ("jmappushsubscriptionfolder", "#jmappushsubscription"), ("ldap_base", ""), ("ldap_deref", "never"),
    ("ldap_domain_base_dn", ""),
    ("ldap_domain_filter", "(&(objectclass=domainrelatedobject)(associateddomain=%s))"),
    ("ldap_domain_name_attribute", "associateddomain"), ("ldap_domain_scope", "sub"),
    ("ldap_domain_result_attribute", "inetdomainbasedn"), ("ldap_filter", "(uid=%u)"), ("ldap_group_base", ""),
    ("ldap_group_filter", "(cn=%u)"), ("ldap_group_scope", "sub"), ("ldap_member_base", ""),
    ("ldap_member_filter", "(member=%D)"), ("ldap_member_method", "attribute"), ("ldap_member_scope", "sub"),
    ("ldap_scope", "sub"), ("ldap_servers", "ldap://localhost/"), ("lmtp_exclude_specialuse", "\\Snoozed"),
    ("lmtpsocket", "{configdirectory}/socket/lmtp"), ("loginrealms", ""), ("mboxkey_db", "twoskip"),
    ("mboxlist_db", "twoskip"), ("metapartition_files", ""), ("mupdate_config", "standard"),
    ("mupdate_username", ""), ("newsaddheaders", "to"), ("newsgroups", "*"), ("newsmaster", "news"),
    ("notifysocket", "{configdirectory}/socket/notify"), ("partition_select_mode", "freespace-most"),
    ("postmaster", "postmaster"), ("postuser", ""), ("prometheus_need_auth", "admin"), ("proxy_authname", "proxy"),
    ("pts_module", "afskrb"), ("ptscache_db", "twoskip"), ("qosmarking", "cs0"), ("quota_db", "quotalegacy"),
    ("rss_feeds", "*"), ("search_engine", "none"), ("search_indexed_db", "twoskip"), ("search_whitespace", "merge"),
    ("seenstate_db", "twoskip"), ("sendmail", "/usr/lib/sendmail"), ("sendmail_auth_id", "CYRUS_SENDMAIL_AUTH_ID"),
    ("serverlist_select_mode", "freespace-most"), ("serverinfo", "on"), ("sharedprefix", "Shared Folders"),
    ("sieve_folder", "#sieve"), ("sievedir", "/usr/sieve"), ("smtp_backend", "sendmail"),
    ("smtp_host", "localhost:587"), ("sortcache_db", "twoskip"),
    ("specialuse_protect", "\\Archive \\Drafts \\Important \\Junk \\Sent \\Trash"), ("sql_hostnames", ""),
    ("srvtab", ""), ("subscription_db", "flat"), ("statuscache_db", "twoskip"), ("sync_cache_db", "twoskip"),
    ("sync_log_unsuppressable_channels", "squatter"), ("temp_path", "/tmp"), ("tlscache_db", "twoskip"),
    ("tls_cipher_list", "DEFAULT"), ("tls_ciphers", "DEFAULT"), ("tls_client_certs", "optional"),
    ("tls_eccurve", "prime256v1"), ("tls_sessions_db", "twoskip"), ("tls_versions", "tls1_0 tls1_1 tls1_2 tls1_3"),
    ("uidl_format", "cyrus"), ("umask", "077"), ("userdeny_db", "flat"), ("userprefix", "Other Users"),
    ("virtdomains", "off"), ("virusscan_notification_subject", "Automatically deleted mail"),
    ("zoneinfo_db", "twoskip"),
];

/// Old names and the names that replace them.
#[rustfmt::skip]
pub(crate) const RENAMED: &[(&str, &str)] = &[
    ("archive_days", "archive_after"), ("autocreateinboxfolders", "autocreate_inbox_folders"),
    ("autocreatequota", "autocreate_quota"), ("autocreatequotamsg", "autocreate_quota_messages"),
    ("autosievefolders", "autocreate_sieve_folders"),
    ("generate_compiled_sieve_script", "autocreate_sieve_script_compile"),
    ("autocreate_sieve_compiled_script", "autocreate_sieve_script_compiled"),
    ("autosubscribeinboxfolders", "autocreate_subscribe_folders"),
    ("autosubscribesharedfolders", "autocreate_subscribe_sharedfolders"),
    ("autosubscribe_all_sharedfolders", "autocreate_subscribe_sharedfolders_all"),
    ("backup_retention_days", "backup_retention"), ("createonpost", "autocreate_post"),
    ("conversations_expire_days", "conversations_expire_after"), ("ldap_sasl_authc", "ldap_id"),
    ("ldap_sasl_authz", "ldap_authz"), ("ldap_sasl_mech", "ldap_mech"), ("ldap_sasl_password", "ldap_password"),
    ("ldap_sasl_realm", "ldap_realm"), ("ldap_servers", "ldap_uri"), ("ldap_tls_cacert_dir", "ldap_ca_dir"),
    ("ldap_tls_cacert_file", "ldap_ca_file"), ("ldap_tls_cert", "ldap_client_cert"),
    ("ldap_tls_key", "ldap_client_key"), ("ldap_tls_check_peer", "ldap_verify_peer"),
    ("ldap_tls_ciphers", "ldap_ciphers"), ("tls_ca_file", "tls_client_ca_file"),
    ("tls_ca_path", "tls_client_ca_dir"), ("tlscache_db", "tls_sessions_db"),
    ("tlscache_db_path", "tls_sessions_db_path"), ("tls_cert_file", "tls_server_cert"),
    ("tls_cipher_list", "tls_ciphers"), ("tls_key_file", "tls_server_key"),
];
