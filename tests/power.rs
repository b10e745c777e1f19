//! `kairos` on a disk that loses power: `kairos_disk` says how, the variable `KAIROS_TEST_DISK` when.

fn main() -> std::process::ExitCode {
    kairos_disk::from_environment();
    kairos_server::run()
}
