//! The VFS: SQLite's calls, handed to the disk that a file is on, or to the system's VFS.
//!
//! Locks, the log's index and everything of files that are on no disk of ours are the system's: a handle
//! of ours has one of the system's behind it.
#![allow(unsafe_code)] // SQLite takes a VFS as a table of C functions: an exception, for tests only.

use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::mem::size_of;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, Once};

use rusqlite::ffi;

use crate::Disk;
use crate::state::Code;

/// What SQLite sees of an open file on a disk of ours.
#[repr(C)]
struct Handle {
    base: ffi::sqlite3_file,
    /// Made in `open`, freed in `close`.
    opened: *mut Opened,
}

struct Opened {
    disk: Arc<Disk>,
    path: PathBuf,
    /// The system's handle: its size is what its VFS asks for.
    system: Box<[u64]>,
}

impl Opened {
    fn system(&mut self) -> *mut ffi::sqlite3_file {
        self.system.as_mut_ptr().cast()
    }
}

static SYSTEM: AtomicPtr<ffi::sqlite3_vfs> = AtomicPtr::new(null_mut());

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    // The second version has no mapped files.
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

/// Makes this the VFS of all connections that are opened from now on.
pub(crate) fn register() {
    static ONCE: Once = Once::new();
    // SAFETY: the system's VFS lives as long as the process. What is not replaced in its copy are functions
    // that do not look at the VFS they are given, and plain data.
    ONCE.call_once(|| unsafe {
        let system = ffi::sqlite3_vfs_find(null());
        assert!(!system.is_null(), "SQLite has no VFS");
        SYSTEM.store(system, Ordering::Release);
        let ours = ffi::sqlite3_vfs {
            szOsFile: (*system).szOsFile.max(size_of::<Handle>() as c_int),
            pNext: null_mut(),
            zName: c"kairos-test-disk".as_ptr(),
            xOpen: Some(open),
            xDelete: Some(delete),
            ..*system
        };
        let registered = ffi::sqlite3_vfs_register(Box::leak(Box::new(ours)), 1);
        assert_eq!(registered, ffi::SQLITE_OK, "SQLite takes no VFS");
    });
}

fn system() -> *mut ffi::sqlite3_vfs {
    SYSTEM.load(Ordering::Acquire)
}

/// A path of SQLite's.
///
/// # Safety
///
/// `name` is null or a C string.
unsafe fn path_of(name: *const c_char) -> Option<PathBuf> {
    if name.is_null() {
        return None;
    }
    // SAFETY: it is a C string, says the caller.
    let name = unsafe { CStr::from_ptr(name) };
    Some(Path::new(OsStr::from_bytes(name.to_bytes())).to_owned())
}

fn code(result: Result<(), Code>) -> c_int {
    result.err().unwrap_or(ffi::SQLITE_OK)
}

unsafe extern "C" fn open(
    _: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    mut flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    let kept = ffi::SQLITE_OPEN_MAIN_DB | ffi::SQLITE_OPEN_MAIN_JOURNAL | ffi::SQLITE_OPEN_WAL;
    // SAFETY: SQLite gives a handle of szOsFile bytes and a name that outlives the file, or none. Both fit
    // the system's VFS as they fit this one. SQLite calls no method of a handle without methods.
    unsafe {
        let Some(open) = (*system()).xOpen else { return ffi::SQLITE_CANTOPEN };
        let path = path_of(name).filter(|_| flags & kept != 0);
        let Some((disk, path)) = path.and_then(|path| Some((Disk::of(&path)?, path))) else {
            return open(system(), name, file, flags, out_flags);
        };
        (*file).pMethods = null();
        let mut state = disk.state();
        let is_there = path.exists();
        if state.off {
            return ffi::SQLITE_CANTOPEN;
        }
        if state.is_read_only() && is_there {
            flags = flags & !(ffi::SQLITE_OPEN_READWRITE | ffi::SQLITE_OPEN_CREATE) | ffi::SQLITE_OPEN_READONLY;
        }
        let words = ((*system()).szOsFile as usize).div_ceil(size_of::<u64>());
        let mut opened = Box::new(Opened { disk: Arc::clone(&disk), path, system: vec![0; words].into_boxed_slice() });
        let done = open(system(), name, opened.system(), flags, out_flags);
        if done == ffi::SQLITE_OK {
            state.opened(&opened.path, !is_there);
            (*file.cast::<Handle>()).opened = Box::into_raw(opened);
            (*file).pMethods = &raw const METHODS;
        }
        done
    }
}

unsafe extern "C" fn delete(_: *mut ffi::sqlite3_vfs, name: *const c_char, sync_folder: c_int) -> c_int {
    // SAFETY: SQLite gives a name.
    match unsafe { path_of(name) }.and_then(|path| Some((Disk::of(&path)?, path))) {
        Some((disk, path)) => code(disk.state().remove(&path, sync_folder != 0)),
        // SAFETY: as this was called.
        None => unsafe {
            (*system()).xDelete.map_or(ffi::SQLITE_IOERR_DELETE, |delete| delete(system(), name, sync_folder))
        },
    }
}

/// The file of a handle.
///
/// # Safety
///
/// `file` was opened by `open`, on a disk of ours, and is not closed. SQLite uses a handle in one thread
/// at a time.
unsafe fn opened<'a>(file: *mut ffi::sqlite3_file) -> &'a mut Opened {
    // SAFETY: such a handle has been given its file.
    unsafe { &mut *(*file.cast::<Handle>()).opened }
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: SQLite closes a handle once; the system's was opened with it.
    unsafe {
        let mut opened = Box::from_raw((*file.cast::<Handle>()).opened);
        (*file).pMethods = null();
        let system = opened.system();
        (*(*system).pMethods).xClose.map_or(ffi::SQLITE_OK, |close| close(system))
    }
}

unsafe extern "C" fn read(file: *mut ffi::sqlite3_file, into: *mut c_void, length: c_int, at: i64) -> c_int {
    // SAFETY: SQLite gives an open handle, and a buffer of that length.
    let (file, buffer) = unsafe { (opened(file), std::slice::from_raw_parts_mut(into.cast::<u8>(), length as usize)) };
    match file.disk.state().read(&file.path, buffer, at as usize) {
        Ok(true) => ffi::SQLITE_OK,
        Ok(false) => ffi::SQLITE_IOERR_SHORT_READ,
        Err(code) => code,
    }
}

unsafe extern "C" fn write(file: *mut ffi::sqlite3_file, from: *const c_void, length: c_int, at: i64) -> c_int {
    // SAFETY: SQLite gives an open handle, and that many bytes.
    let (file, bytes) = unsafe { (opened(file), std::slice::from_raw_parts(from.cast::<u8>(), length as usize)) };
    code(file.disk.state().write(&file.path, bytes, at as usize))
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, size: i64) -> c_int {
    // SAFETY: SQLite gives an open handle.
    let file = unsafe { opened(file) };
    code(file.disk.state().resize(&file.path, size as usize))
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, _: c_int) -> c_int {
    // SAFETY: SQLite gives an open handle.
    let file = unsafe { opened(file) };
    code(file.disk.state().sync(&file.path))
}

unsafe extern "C" fn file_size(file: *mut ffi::sqlite3_file, size: *mut i64) -> c_int {
    // SAFETY: SQLite gives an open handle, and a place for the answer.
    unsafe {
        let file = opened(file);
        *size = file.disk.state().size(&file.path) as i64;
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn file_control(file: *mut ffi::sqlite3_file, what: c_int, argument: *mut c_void) -> c_int {
    // The system's side of the file is not the file: it is not to be made larger, nor mapped.
    if matches!(what, ffi::SQLITE_FCNTL_SIZE_HINT | ffi::SQLITE_FCNTL_CHUNK_SIZE | ffi::SQLITE_FCNTL_MMAP_SIZE) {
        return ffi::SQLITE_NOTFOUND;
    }
    // SAFETY: as this was called.
    unsafe { on_system(file, |system, methods| methods.xFileControl.map(|control| control(system, what, argument))) }
}

/// Calls a method of the system's handle behind one of ours. 0 where it has none.
///
/// # Safety
///
/// `file` is an open handle of ours.
unsafe fn on_system(
    file: *mut ffi::sqlite3_file,
    call: impl FnOnce(*mut ffi::sqlite3_file, &ffi::sqlite3_io_methods) -> Option<c_int>,
) -> c_int {
    // SAFETY: the system's handle is open as long as ours is.
    unsafe {
        let system = opened(file).system();
        call(system, &*(*system).pMethods).unwrap_or(ffi::SQLITE_OK)
    }
}

macro_rules! hand_on {
    ($($name:ident = $method:ident($($argument:ident: $type:ty),*);)*) => {$(
        unsafe extern "C" fn $name(file: *mut ffi::sqlite3_file $(, $argument: $type)*) -> c_int {
            // SAFETY: as this was called.
            unsafe { on_system(file, |system, methods| methods.$method.map(|method| method(system $(, $argument)*))) }
        }
    )*};
}

hand_on! {
    lock = xLock(level: c_int);
    unlock = xUnlock(level: c_int);
    check_reserved_lock = xCheckReservedLock(out: *mut c_int);
    sector_size = xSectorSize();
    device_characteristics = xDeviceCharacteristics();
    shm_map = xShmMap(page: c_int, size: c_int, extend: c_int, out: *mut *mut c_void);
    shm_lock = xShmLock(offset: c_int, count: c_int, flags: c_int);
    shm_unmap = xShmUnmap(delete: c_int);
}

unsafe extern "C" fn shm_barrier(file: *mut ffi::sqlite3_file) {
    // SAFETY: as this was called.
    unsafe {
        on_system(file, |system, methods| {
            if let Some(barrier) = methods.xShmBarrier {
                barrier(system);
            }
            None
        });
    }
}
