//! Reading the bytes of a flow file.

use std::{fs, io};

use rr_loader::{ReadError, read_file, read_from};
use rr_schemas::flow::FILE_BYTES_MAX;

#[test]
fn what_cannot_be_read_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("no.yaml");
    let error = read_file(&missing).unwrap_err();
    assert!(matches!(error, ReadError::Unreadable { .. }));
    assert_eq!(error.to_string(), format!("cannot read '{}': no such file", missing.display()));
    let error = read_file(dir.path()).unwrap_err();
    assert!(matches!(error, ReadError::Unreadable { .. }));
    assert_eq!(error.to_string(), format!("cannot read '{}': is a directory", dir.path().display()));
}

#[test]
fn a_file_of_the_limit_is_read_and_a_larger_one_is_refused_unread() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("large.yaml");
    fs::write(&path, vec![b'x'; FILE_BYTES_MAX]).unwrap();
    assert_eq!(read_file(&path).unwrap().len(), FILE_BYTES_MAX);
    // A hole of 100 MB takes no space.
    fs::File::create(&path).unwrap().set_len(100 * 1024 * 1024).unwrap();
    let error = read_file(&path).unwrap_err();
    assert!(matches!(error, ReadError::TooLarge { .. }));
    assert!(error.to_string().ends_with("file is 104857600 bytes, limit 524288"), "{error}");
}

#[test]
fn of_an_endless_input_no_more_than_the_limit_is_read() {
    let error = read_from(io::repeat(b'x'), "-").unwrap_err();
    assert!(matches!(error, ReadError::TooLarge { .. }));
    assert_eq!(error.to_string(), "'-': file is more than 524288 bytes, limit 524288");
    #[cfg(unix)]
    assert!(matches!(read_file(std::path::Path::new("/dev/zero")), Err(ReadError::TooLarge { .. })));
}
