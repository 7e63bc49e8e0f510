//! The service of [`zddcluster_tests::load`], for the tests that start it as an app's command.

fn main() -> anyhow::Result<()> {
    zddcluster_tests::load::origin::run()
}
