//! Writes an instance's folders, imapd.conf and cyrus.conf.
//!
//! Traps, all of 3.6.1: the master does not pass `-C` on, so every service line has its own; an option with an empty value
//! makes the master exit without a message; Unix socket paths must stay below 108 bytes.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::TcpListener;
use std::path::Path;

use super::Builder;
use crate::error::{Result, io};
use crate::process::cyrus_dir;
use crate::programs::Programs;

const FOLDERS: [&str; 16] = [
    "",
    "conf",
    "conf/db",
    "conf/sync",
    "conf/socket",
    "conf/log",
    "conf/proc",
    "conf/user",
    "conf/quota",
    "conf/lock",
    "spool",
    "spool2",
    "archive",
    "sieve",
    "run",
    "tmp",
];

/// Annotations that clients may store besides the built-in ones (`/comment` …).
const ANNOTATIONS: &str = "\
/vendor/testkit/colour,mailbox,string,backend,value.shared value.priv,
/vendor/testkit/note,message,string,backend,value.shared value.priv,
";

/// The files of an instance and their contents.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) servername: String,
    pub(super) unixhierarchysep: bool,
    pub(super) imap_port: Option<u16>,
    pub(super) csync_port: Option<u16>,
    pub(super) sieve_port: Option<u16>,
    pub(super) lmtp: bool,
    /// Commands of the START section, after the usual one.
    pub(super) at_start: Vec<String>,
    pub(super) programs: Programs,
    options: BTreeMap<String, String>,
}

impl Files {
    pub(super) fn make(dir: &Path, builder: &Builder) -> Result<Self> {
        Self::make_folders(dir)?;
        let annotations = dir.join("annotations.conf");
        std::fs::write(&annotations, ANNOTATIONS).map_err(io("write", &annotations))?;
        let name =
            dir.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
        let mut files = Self {
            servername: format!("{name}.test"),
            unixhierarchysep: builder.unixhierarchysep,
            imap_port: builder.imap.then_some(0),
            csync_port: builder.csync.then_some(0),
            sieve_port: builder.sieve.then_some(0),
            lmtp: builder.lmtp,
            at_start: Vec::new(),
            programs: Programs::of(builder.release)?,
            options: BTreeMap::new(),
        };
        files.choose_ports()?;
        files.defaults(dir);
        if builder.archive {
            files.set("archivepartition-default", &dir.join("archive").display().to_string());
        }
        for (key, value) in &builder.options {
            files.set(key, value);
        }
        files.write_imapd_conf(dir)?;
        Ok(files)
    }

    /// Makes the missing folders.
    pub(super) fn make_folders(dir: &Path) -> Result<()> {
        FOLDERS.iter().try_for_each(|folder| cyrus_dir(&dir.join(folder)))
    }

    /// Chooses free loopback ports for the services that need one.
    pub(super) fn choose_ports(&mut self) -> Result<()> {
        // All are held at once, so that they differ.
        let mut held = Vec::new();
        let ports = [&mut self.imap_port, &mut self.csync_port, &mut self.sieve_port];
        for port in ports.into_iter().flatten() {
            let listener =
                TcpListener::bind(("127.0.0.1", 0)).map_err(io("bind a port of", "127.0.0.1"))?;
            *port = listener.local_addr().map_err(io("read a port of", "127.0.0.1"))?.port();
            held.push(listener);
        }
        Ok(())
    }

    fn defaults(&mut self, dir: &Path) {
        let path = |name: &str| dir.join(name).display().to_string();
        let lines = [
            ("servername", self.servername.clone()),
            ("configdirectory", path("conf")),
            ("defaultpartition", "default".to_owned()),
            ("partition-default", path("spool")),
            ("partition-second", path("spool2")),
            ("proc_path", path("conf/proc")),
            ("temp_path", path("tmp")),
            ("mboxname_lockpath", path("conf/lock")),
            ("lmtpsocket", path("conf/socket/lmtp")),
            ("idlesocket", path("conf/socket/idle")),
            ("notifysocket", path("conf/socket/notify")),
            ("sievedir", path("sieve")),
            ("admins", super::ADMIN.to_owned()),
            ("allowplaintext", "yes".to_owned()),
            ("sasl_pwcheck_method", "saslauthd".to_owned()),
            ("sasl_saslauthd_path", path("mux")),
            ("sasl_mech_list", "PLAIN LOGIN".to_owned()),
            ("unixhierarchysep", if self.unixhierarchysep { "yes" } else { "no" }.to_owned()),
            ("altnamespace", "no".to_owned()),
            ("hashimapspool", "yes".to_owned()),
            ("expunge_mode", "delayed".to_owned()),
            ("annotation_definitions", path("annotations.conf")),
            ("annotation_allow_undefined", "yes".to_owned()),
            ("annotation_enable_legacy_commands", "yes".to_owned()),
            ("tls_session_timeout", "0".to_owned()),
        ];
        for (key, value) in lines {
            self.set(key, &value);
        }
    }

    pub(super) fn set(&mut self, key: &str, value: &str) {
        self.options.insert(key.to_owned(), value.to_owned());
    }

    pub(super) fn unset(&mut self, key: &str) {
        self.options.remove(key);
    }

    pub(super) fn write_imapd_conf(&self, dir: &Path) -> Result<()> {
        let mut text = String::new();
        for (key, value) in &self.options {
            let _ = writeln!(text, "{key}: {value}");
        }
        let path = dir.join("imapd.conf");
        // Replaced in one step: a server may be reading it.
        let fresh = dir.join("imapd.conf.new");
        std::fs::write(&fresh, text).map_err(io("write", &fresh))?;
        std::fs::rename(&fresh, &path).map_err(io("replace", &path))
    }

    pub(super) fn write_cyrus_conf(&self, dir: &Path) -> Result<()> {
        let conf = dir.join("imapd.conf").display().to_string();
        let line = |program| self.programs.line(program);
        let mut text =
            format!("START {{\n  recover cmd=\"{} -C {conf} -r\"\n", line("ctl_cyrusdb"));
        for (nr, command) in self.at_start.iter().enumerate() {
            let _ = writeln!(text, "  start{nr} cmd=\"{command}\"");
        }
        text.push_str("}\nSERVICES {\n");
        if let Some(port) = self.imap_port {
            let _ = writeln!(
                text,
                "  imap cmd=\"{} -C {conf}\" listen=\"127.0.0.1:{port}\" prefork=0",
                line("imapd")
            );
        }
        if let Some(port) = self.csync_port {
            let _ = writeln!(
                text,
                "  csync cmd=\"{} -C {conf}\" listen=\"127.0.0.1:{port}\" prefork=0",
                line("sync_server")
            );
        }
        if let Some(port) = self.sieve_port {
            let _ = writeln!(
                text,
                "  sieve cmd=\"{} -C {conf}\" listen=\"127.0.0.1:{port}\" prefork=0",
                line("timsieved")
            );
        }
        if self.lmtp {
            let socket = dir.join("conf/socket/lmtp").display().to_string();
            let _ = writeln!(
                text,
                "  lmtp cmd=\"{} -C {conf} -a\" listen=\"{socket}\" prefork=0",
                line("lmtpd")
            );
        }
        text.push_str("}\nEVENTS {\n}\n");
        let path = dir.join("cyrus.conf");
        std::fs::write(&path, text).map_err(io("write", &path))
    }
}
