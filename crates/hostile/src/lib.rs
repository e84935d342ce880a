//! Inputs for decoders in tests: good input, damaged in many ways, and random bytes.
//!
//! ```text
//!   seeds: files of the real thing --mutation.rs--> damaged input --repair (checksums)--> check
//!   corpus: what was found before  ------------------------------------------------------> check
//! ```
//! A check panics if the decoder is wrong: by the decoder's own panic, or by an assertion. It has limits on time and memory
//! (`guard.rs`). A failing input is minimised and written to `target/hostile/`; add it to the corpus once the decoder is
//! fixed.
//!
//! A run always tries the same inputs. `PROPTEST_CASES=100000 PROPTEST_RNG_SEED=7` tries more and different ones.

mod guard;
mod mutation;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};

use guard::within;
use mutation::Plan;

/// How many inputs are tried if `PROPTEST_CASES` is not set.
const CASES: u32 = 250;
/// The seed of the random numbers if `PROPTEST_RNG_SEED` is not set.
const SEED: u64 = 3_6_1;

/// Feeds a decoder with inputs and panics if it is wrong.
pub type Check = Arc<dyn Fn(&[u8]) + Send + Sync>;

/// A decoder under test.
pub struct Target {
    /// Its name in messages and file names.
    pub name: &'static str,
    /// Good input. There must be some.
    pub seeds: Vec<Vec<u8>>,
    /// Recomputes checksums, so that damage reaches the code behind their check.
    pub repair: fn(&mut [u8]),
    /// The check of each input.
    pub check: Check,
}

/// For formats without checksums.
pub fn no_repair(_: &mut [u8]) {}

/// The files of a folder, by name.
///
/// # Panics
/// The folder can't be read, or it is empty.
#[must_use]
pub fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.is_file());
    paths.sort();
    assert!(!paths.is_empty(), "no file in {}", folder.display());
    paths.into_iter().map(|path| (path.clone(), read(&path))).collect()
}

/// A file.
///
/// # Panics
/// It can't be read.
#[must_use]
pub fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The configuration of a proptest run, the same each time: fixed number of cases and seed, or those of `PROPTEST_CASES`
/// and `PROPTEST_RNG_SEED`.
#[must_use]
pub fn config(cases: u32) -> Config {
    let mut config =
        Config { max_shrink_time: 60_000, failure_persistence: None, ..Config::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = cases;
    }
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(SEED);
    }
    config
}

impl Target {
    /// Tries every seed as it is, then damaged ones.
    ///
    /// # Panics
    /// An input makes the decoder panic, takes too long or too much memory, or fails the check.
    pub fn attack(&self) {
        assert!(!self.seeds.is_empty(), "{}: no seeds", self.name);
        for seed in &self.seeds {
            within(&self.check, seed).unwrap_or_else(|why| panic!("{}: a seed {why}", self.name));
        }
        let mut runner = TestRunner::new(config(CASES));
        let result = runner.run(&mutation::plans(), |plan| {
            let input = self.input(&plan);
            within(&self.check, &input).map_err(TestCaseError::fail)
        });
        match result {
            Ok(()) => {}
            Err(TestError::Fail(why, plan)) => {
                let path = self.keep(&self.input(&plan));
                panic!("{}: {why}\n{plan:?}\nthe input is in {}", self.name, path.display());
            }
            Err(error) => panic!("{}: {error}", self.name),
        }
    }

    fn input(&self, plan: &Plan) -> Vec<u8> {
        let mut input = plan.input(&self.seeds);
        if plan.repaired {
            (self.repair)(&mut input);
        }
        input
    }

    /// Writes a failing input to a file.
    fn keep(&self, input: &[u8]) -> PathBuf {
        let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
        let target =
            target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"));
        let folder = target.join("hostile");
        let path = folder.join(format!("{}-{}-bytes", self.name, input.len()));
        let written = fs::create_dir_all(&folder).and_then(|()| fs::write(&path, input));
        written.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        path
    }
}
