//! `benchinf keygen`.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::args::KeygenArgs;
use crate::error::{Error, Result};
use crate::result::SigningKey;

pub(super) fn run(args: KeygenArgs) -> Result<ExitCode> {
    let key = SigningKey::generate()?;
    let mut public_path = args.path.clone().into_os_string();
    public_path.push(".pub");
    let public_path = PathBuf::from(public_path);
    // Keys are never replaced, and neither half is left without the other.
    if public_path.exists() {
        return Err(Error::KeyExists { path: public_path });
    }
    write_new(&args.path, &key.to_pem(), 0o600)?;
    if let Err(error) = write_new(&public_path, &key.public_key_pem(), 0o644) {
        let _ = std::fs::remove_file(&args.path);
        return Err(error);
    }
    super::print(&format!(
        "private key: {} (keep it to yourself)\npublic key: {}\n",
        super::plain(&args.path.display().to_string()),
        super::plain(&public_path.display().to_string()),
    ))?;
    Ok(ExitCode::SUCCESS)
}

#[cfg_attr(not(unix), expect(unused_variables))]
fn write_new(path: &Path, text: &str, mode: u32) -> Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    let opened = options.open(path);
    let mut file = opened.map_err(|source| match source.kind() {
        std::io::ErrorKind::AlreadyExists => Error::KeyExists { path: path.into() },
        _ => Error::Key { path: path.into(), problem: format!("cannot write it: {source}") },
    })?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    written.map_err(|source| {
        // Half a key is none.
        let _ = std::fs::remove_file(path);
        Error::Key { path: path.into(), problem: format!("cannot write it: {source}") }
    })
}
