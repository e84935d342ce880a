//! The test house itself, against real servers: what it builds works, and its oracle can fail.

use testkit::{Cyrus, Via, c_client, fill, oracle};

/// A master and a replica to which it is set up to replicate.
fn pair(via: Via) -> testkit::Result<(Cyrus, Cyrus)> {
    let replica = Cyrus::replica().start()?;
    let mut master = Cyrus::master().start()?;
    master.replicate_to(&replica, via)?;
    Ok((master, replica))
}

#[test]
fn uniform_users_replicate_and_compare_equal() {
    let (master, replica) = pair(Via::Csync).unwrap();
    let started = std::time::Instant::now();
    let users = fill::uniform(&master, 3, 2, 20, 2000).unwrap();
    println!("filled in {:?}", started.elapsed());
    let outcome = c_client::run(&master, &["-v", "-A"])
        .unwrap()
        .must_succeed()
        .unwrap();
    println!("{outcome:?}");
    let report = oracle::compare(&master, &replica, &users).unwrap();
    assert!(report.is_empty(), "{report}");
    let report = oracle::compare_bytes(&master, &replica, &users).unwrap();
    assert!(report.is_empty(), "{report}");
}

#[test]
fn odd_users_replicate_and_compare_equal() {
    let (master, replica) = pair(Via::Csync).unwrap();
    let started = std::time::Instant::now();
    let users = fill::fill_users(&master, 7, 8).unwrap();
    println!("filled in {:?}", started.elapsed());
    let mut args = vec!["-v", "-u"];
    args.extend(users.iter().map(String::as_str));
    let outcome = c_client::run(&master, &args)
        .unwrap()
        .must_succeed()
        .unwrap();
    println!(
        "wall {:?} cpu {:?} rss {}",
        outcome.wall,
        outcome.cpu(),
        outcome.peak_rss_bytes
    );
    let report = oracle::compare(&master, &replica, &users).unwrap();
    assert!(report.is_empty(), "{report}");
    let report = oracle::compare_bytes(&master, &replica, &users).unwrap();
    assert!(report.is_empty(), "{report}");
}
