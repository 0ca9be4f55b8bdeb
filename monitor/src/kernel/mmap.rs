//! Arrays of the kernel mapped into the daemon, so that one entry is one atomic load or store.

use std::{
    marker::PhantomData,
    os::fd::AsFd,
    ptr::NonNull,
    sync::atomic::{AtomicU16, AtomicU64, Ordering},
};

use super::KernelError;

/// An integer that can be loaded and stored atomically in shared memory.
pub trait Cell: Copy + PartialEq + Default {
    /// Loads it.
    ///
    /// # Safety
    /// `p` must be valid for reads, aligned, and only accessed atomically.
    unsafe fn load(p: *const Self) -> Self;
    /// Stores it.
    ///
    /// # Safety
    /// As [`Self::load`], for writes.
    unsafe fn store(p: *mut Self, v: Self);
    /// Stores it if the value is still `old`; returns what was there.
    ///
    /// # Safety
    /// As [`Self::store`].
    unsafe fn replace(p: *mut Self, old: Self, v: Self) -> Self;
}

macro_rules! cell {
    ($t:ty, $atomic:ty) => {
        impl Cell for $t {
            unsafe fn load(p: *const Self) -> Self {
                // SAFETY: the caller's promise.
                unsafe { <$atomic>::from_ptr(p.cast_mut()) }.load(Ordering::Relaxed)
            }
            unsafe fn store(p: *mut Self, v: Self) {
                // SAFETY: the caller's promise.
                unsafe { <$atomic>::from_ptr(p) }.store(v, Ordering::SeqCst)
            }
            unsafe fn replace(p: *mut Self, old: Self, v: Self) -> Self {
                // SAFETY: the caller's promise.
                let cell = unsafe { <$atomic>::from_ptr(p) };
                match cell.compare_exchange(old, v, Ordering::SeqCst, Ordering::SeqCst) {
                    Ok(was) | Err(was) => was,
                }
            }
        }
    };
}
cell!(u16, AtomicU16);
cell!(u64, AtomicU64);

/// A mapped array.
pub struct Mapped<T> {
    base: NonNull<T>,
    len: usize,
    _value: PhantomData<T>,
}
// SAFETY: the memory is shared with the kernel anyway; every access is atomic.
unsafe impl<T> Send for Mapped<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Mapped<T> {}

impl<T: Cell> Mapped<T> {
    /// Maps `len` entries of an array made with BPF_F_MMAPABLE.
    pub fn new(map: &'static str, fd: impl AsFd, len: usize) -> Result<Self, KernelError> {
        use nix::sys::mman::{MapFlags, ProtFlags, mmap};
        let bytes = (len * size_of::<T>()).next_multiple_of(4096);
        let size = std::num::NonZeroUsize::new(bytes).ok_or(KernelError::Map {
            map,
            what: "empty".into(),
        })?;
        // SAFETY: a fresh mapping at an address that the kernel chooses.
        let base = unsafe {
            mmap(
                None,
                size,
                ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
                MapFlags::MAP_SHARED,
                fd,
                0,
            )
        }
        .map_err(|e| KernelError::Map {
            map,
            what: format!("cannot be mapped: {e}"),
        })?;
        Ok(Self {
            base: base.cast(),
            len,
            _value: PhantomData,
        })
    }

    /// Entry `i`, if it exists.
    pub fn get(&self, i: usize) -> Option<T> {
        // SAFETY: inside the mapping, which lives as long as `self`.
        (i < self.len).then(|| unsafe { T::load(self.base.as_ptr().add(i)) })
    }

    /// Stores entry `i`; nothing happens if there is no such entry.
    pub fn set(&self, i: usize, v: T) {
        if i < self.len {
            // SAFETY: inside the mapping, which lives as long as `self`.
            unsafe { T::store(self.base.as_ptr().add(i), v) }
        }
    }

    /// Stores entry `i` if it is still `old`; returns what was there, if there is such an entry.
    pub fn replace(&self, i: usize, old: T, v: T) -> Option<T> {
        // SAFETY: inside the mapping, which lives as long as `self`.
        (i < self.len).then(|| unsafe { T::replace(self.base.as_ptr().add(i), old, v) })
    }

    /// Entries that are not zero.
    pub fn non_zero(&self) -> impl Iterator<Item = (usize, T)> + '_ {
        (0..self.len).filter_map(|i| self.get(i).filter(|v| *v != T::default()).map(|v| (i, v)))
    }
}

impl<T> Drop for Mapped<T> {
    fn drop(&mut self) {
        let bytes = (self.len * size_of::<T>()).next_multiple_of(4096);
        // SAFETY: the mapping made in `new`, unmapped once. A failure leaks it, no more.
        let _ = unsafe { nix::sys::mman::munmap(self.base.cast(), bytes) };
    }
}
