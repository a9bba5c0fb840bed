//! The daemon's Unix socket: who may open its file may ask.

use std::{
    fs,
    io::{self, ErrorKind},
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _, chown, lchown},
    },
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use nix::{
    fcntl::{OFlag, open},
    sys::stat::{Mode, fchmod},
    unistd::User,
};
use tokio::net::{UnixListener, UnixSocket, UnixStream};

use crate::config::WebConfig;

/// The socket is for user and group, its folder for all.
const SOCKET_MODE: u32 = 0o660;
const FOLDER_MODE: u32 = 0o755;
/// Connections that may wait to be accepted.
const BACKLOG: u32 = 64;

/// The file of a socket. Dropped, it removes it if it still is this one's and that is still allowed; if not, the next
/// start replaces it.
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), identity: identity(path)? })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if !identity(&self.path).is_ok_and(|found| found == self.identity) {
            return;
        }
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "the socket stays");
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}

/// Binds the configured socket, while the process still has the privileges to do so. Its file, and the folder that is
/// made for it, are `owner`'s: who the daemon is about to become, if anybody else.
///
/// # Errors
/// It can't be had. Where it is the default one, which nobody asked for, that is only logged.
pub async fn bind_socket(web: &WebConfig, owner: Option<&User>) -> Result<Option<(UnixListener, SocketFile)>> {
    let Some(path) = &web.socket else { return Ok(None) };
    match bind(path, owner).await {
        Ok(bound) => Ok(Some(bound)),
        Err(error) if web.has_default_socket() => {
            let path = path.display();
            tracing::warn!(%path, %error, "no Unix socket; choose another --web.socket PATH, or none with --web.socket=");
            Ok(None)
        }
        Err(error) => {
            Err(error).with_context(|| format!("listening on {} failed; choose another --web.socket", path.display()))
        }
    }
}

async fn bind(path: &Path, owner: Option<&User>) -> io::Result<(UnixListener, SocketFile)> {
    if let Some(folder) = path.parent() {
        create_folder(folder, owner)?;
    }
    let socket = match bind_file(path) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            remove_if_stale(path).await?;
            bind_file(path)
        }
        bound => bound,
    }?;
    give(path, owner)?;
    Ok((socket.listen(BACKLOG)?, SocketFile::of(path)?))
}

/// Nothing that somebody may have put there instead is followed.
fn give(path: &Path, owner: Option<&User>) -> io::Result<()> {
    owner.map_or(Ok(()), |owner| lchown(path, Some(owner.uid.as_raw()), Some(owner.gid.as_raw())))
}

fn create_folder(folder: &Path, owner: Option<&User>) -> io::Result<()> {
    if folder.exists() {
        return Ok(());
    }
    fs::DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder)?;
    set_up_folder(folder, owner)
}

/// The mask of the process may have taken some of its mode; and who may not write to the folder may not remove the file
/// at the end.
fn set_up_folder(folder: &Path, owner: Option<&User>) -> io::Result<()> {
    let (_pin, itself) = pin(folder, OFlag::O_DIRECTORY)?;
    fs::set_permissions(&itself, fs::Permissions::from_mode(FOLDER_MODE))?;
    owner.map_or(Ok(()), |owner| chown(itself, Some(owner.uid.as_raw()), Some(owner.gid.as_raw())))
}

/// A file as it is now, and a path that leads to it whatever is put in its place: the folder may be another user's, who
/// may put a link there, which would be followed. A descriptor of O_PATH itself can't change a mode. Not
/// fs::OpenOptions: with musl it takes O_PATH for an access mode and leaves it out.
fn pin(path: &Path, flags: OFlag) -> io::Result<(OwnedFd, PathBuf)> {
    let file = open(path, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | flags, Mode::empty())?;
    let itself = format!("/proc/self/fd/{}", file.as_raw_fd()).into();
    Ok((file, itself))
}

fn bind_file(path: &Path) -> io::Result<UnixSocket> {
    let socket = UnixSocket::new_stream()?;
    // Linux gives the file the mode that the socket has when it is bound (unix_bind_bsd in net/unix/af_unix.c), so it
    // is at no moment open to others.
    fchmod(&socket, Mode::from_bits_truncate(SOCKET_MODE))?;
    socket.bind(path)?;
    // The mask of the process may have taken some of it.
    let (_pin, itself) = pin(path, OFlag::empty())?;
    fs::set_permissions(itself, fs::Permissions::from_mode(SOCKET_MODE))?;
    Ok(socket)
}

/// Removes what a daemon left that ended without doing so.
async fn remove_if_stale(path: &Path) -> io::Result<()> {
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        return Err(io::Error::new(ErrorKind::AlreadyExists, "the file is there and is no socket"));
    }
    match UnixStream::connect(path).await {
        Ok(_) => Err(io::Error::new(ErrorKind::AddrInUse, "another daemon answers there")),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(socket: &Path) -> Result<Option<(UnixListener, SocketFile)>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let web = WebConfig { socket: Some(socket.to_owned()), ..WebConfig::default() };
        // The listener outlives the runtime that it is registered with: nothing is accepted here.
        runtime.block_on(bind_socket(&web, None))
    }

    fn refusal(socket: &Path) -> String {
        bound(socket).map_or_else(|error| format!("{error:#}"), |_| "none".to_owned())
    }

    #[test]
    fn a_socket_is_for_user_and_group_in_a_folder_for_all_and_goes_with_its_owner() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("new/probe.sock");
        let mode = |path: &Path| fs::metadata(path).map(|found| found.permissions().mode() & 0o777);
        let socket = bound(&path)?;
        assert_eq!((mode(&path)?, mode(&folder.path().join("new"))?), (0o660, 0o755));
        drop(socket);
        assert!(!path.exists());
        Ok(())
    }

    #[test]
    fn a_link_that_took_the_place_of_the_new_folder_is_not_followed() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let (other, link) = (folder.path().join("other"), folder.path().join("new"));
        fs::DirBuilder::new().mode(0o700).create(&other)?;
        std::os::unix::fs::symlink(&other, &link)?;
        assert!(set_up_folder(&link, None).is_err());
        assert_eq!(fs::metadata(&other)?.permissions().mode() & 0o777, 0o700);
        Ok(())
    }

    #[test]
    fn a_stale_socket_is_replaced_and_one_that_answers_is_not() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("probe.sock");
        // Dropping a listener leaves its file.
        drop(std::os::unix::net::UnixListener::bind(&path)?);
        let first = bound(&path)?;
        assert!(first.is_some());
        let said = refusal(&path);
        assert!(said.contains("another daemon answers") && said.contains("--web.socket"), "{said}");
        assert!(path.exists());
        Ok(())
    }

    #[test]
    fn what_is_no_socket_is_neither_replaced_nor_removed() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("probe.sock");
        fs::write(&path, "precious")?;
        assert!(refusal(&path).contains("is no socket"), "{}", refusal(&path));
        assert_eq!(fs::read_to_string(&path)?, "precious");
        fs::remove_file(&path)?;
        let socket = bound(&path)?;
        fs::rename(&path, folder.path().join("moved"))?;
        fs::write(&path, "of another")?;
        drop(socket);
        assert!(path.exists());
        Ok(())
    }
}
