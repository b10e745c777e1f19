//! Rust's own allocator, whose first memory is a part of the module: a new instance that needs no more asks the
//! system for none, which is a third of what a call on one takes.
//!
//! The first memory is a static of its own, and not what the linker leaves behind all others: that is anybody's, and
//! a second allocator in the module may begin there.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::{Cell, UnsafeCell};
use core::ptr::null_mut;

use dlmalloc::{Allocator, Dlmalloc};

/// Bytes of a page of memory, by which more is asked for.
const PAGE: usize = 65_536;

/// The first memory: zeros, which take no room in the file.
#[repr(align(16))]
struct First(UnsafeCell<[u8; PAGE]>);

// SAFETY: it is handed to the allocator once, and nobody else looks at it.
unsafe impl Sync for First {}

static FIRST: First = First(UnsafeCell::new([0; PAGE]));

/// Where the allocator gets memory from.
struct Memory {
    /// The first was handed out.
    began: Cell<bool>,
}

// SAFETY: each region is handed out once, has the size that is said, and is zeros: the first is a static of no other
// use, and what memory grows by is nobody's.
unsafe impl Allocator for Memory {
    fn alloc(&self, size: usize) -> (*mut u8, usize, u32) {
        if size <= PAGE && !self.began.replace(true) {
            return (FIRST.0.get().cast(), PAGE, 0);
        }
        let pages = size.div_ceil(PAGE);
        let before = core::arch::wasm32::memory_grow::<0>(pages);
        if before == usize::MAX {
            return (null_mut(), 0, 0);
        }
        let (base, size) = (before * PAGE, pages * PAGE);
        // A pointer behind the last byte that there can be would be 0.
        let last = base.checked_add(size).is_none();
        (base as *mut u8, if last { size - 16 } else { size }, 0)
    }

    fn remap(&self, _: *mut u8, _: usize, _: usize, _: bool) -> *mut u8 {
        null_mut()
    }

    fn free_part(&self, _: *mut u8, _: usize, _: usize) -> bool {
        false
    }

    fn free(&self, _: *mut u8, _: usize) -> bool {
        false
    }

    fn can_release_part(&self, _: u32) -> bool {
        false
    }

    fn allocates_zeros(&self) -> bool {
        true
    }

    fn page_size(&self) -> usize {
        PAGE
    }
}

struct Global(UnsafeCell<Dlmalloc<Memory>>);

// SAFETY: a component has one thread.
unsafe impl Sync for Global {}

#[global_allocator]
static ALLOCATOR: Global = Global(UnsafeCell::new(Dlmalloc::new_with_allocator(Memory { began: Cell::new(false) })));

// SAFETY: dlmalloc keeps what is asked of an allocator; with one thread, and as it calls nobody but `Memory`, no two
// of these references are there at once.
unsafe impl GlobalAlloc for Global {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        unsafe { (*self.0.get()).malloc(layout.size(), layout.align()) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        unsafe { (*self.0.get()).calloc(layout.size(), layout.align()) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        unsafe { (*self.0.get()).free(place, layout.size(), layout.align()) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        unsafe { (*self.0.get()).realloc(place, layout.size(), layout.align(), size) }
    }
}
