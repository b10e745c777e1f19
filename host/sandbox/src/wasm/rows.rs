//! Records that are handed to components in one piece.
//!
//! Of a record whose [`ComponentType`] is derived, each field is written on its own, and the guest's memory is
//! looked up for each: of the 22 fields of 8 models that took as long as all else of a call. A [`Row`] has the
//! bytes that the canonical ABI asks for, and is copied at once.
#![allow(unsafe_code, reason = "how a type is laid out in a guest's memory is a trait that is unsafe to implement")]

use std::marker::PhantomData;

use wasmtime::component::__internal::{CanonicalAbiInfo, InstanceType, InterfaceType, LowerContext};
use wasmtime::component::{ComponentType, Lower};
use wasmtime::{Result, bail};

/// A record `T` of the contract, whose layout has `N` bytes and no pointers.
#[derive(Clone, Copy)]
pub(super) struct Row<T, const N: usize> {
    bytes: [u8; N],
    record: PhantomData<fn(T)>,
}

/// Writes the fields of a record, in their order.
pub(super) struct Writer<const N: usize> {
    bytes: [u8; N],
    at: usize,
}

impl<T: ComponentType, const N: usize> Row<T, N> {
    /// A row of what is written.
    pub(super) fn of(write: impl FnOnce(&mut Writer<N>)) -> Self {
        const { assert!(T::SIZE32 == N, "the record has another size") };
        let mut writer = Writer { bytes: [0; N], at: 0 };
        write(&mut writer);
        Self { bytes: writer.bytes, record: PhantomData }
    }
}

impl<const N: usize> Writer<N> {
    /// A field of `SIZE` bytes, aligned to its size, as numbers, enums, flags and booleans are.
    fn put<const SIZE: usize>(&mut self, bytes: [u8; SIZE]) -> &mut Self {
        let from = self.at.next_multiple_of(SIZE);
        self.bytes[from..from + SIZE].copy_from_slice(&bytes);
        self.at = from + SIZE;
        self
    }

    pub(super) fn byte(&mut self, value: u8) -> &mut Self {
        self.put([value])
    }

    pub(super) fn short(&mut self, value: u16) -> &mut Self {
        self.put(value.to_le_bytes())
    }

    pub(super) fn word(&mut self, value: u32) -> &mut Self {
        self.put(value.to_le_bytes())
    }

    pub(super) fn long(&mut self, value: u64) -> &mut Self {
        self.put(value.to_le_bytes())
    }

    pub(super) fn double(&mut self, value: f64) -> &mut Self {
        self.long(value.to_bits())
    }

    /// An option begins where its value could, with a byte that says whether there is one.
    pub(super) fn optional_word(&mut self, value: Option<u32>) -> &mut Self {
        self.at = self.at.next_multiple_of(size_of::<u32>());
        self.byte(value.is_some().into()).word(value.unwrap_or_default())
    }

    pub(super) fn optional_long(&mut self, value: Option<u64>) -> &mut Self {
        self.at = self.at.next_multiple_of(size_of::<u64>());
        self.byte(value.is_some().into()).long(value.unwrap_or_default())
    }
}

// SAFETY: the record's own, but that its fields are bytes already.
unsafe impl<T: ComponentType, const N: usize> ComponentType for Row<T, N> {
    type Lower = T::Lower;

    const ABI: CanonicalAbiInfo = T::ABI;
    const MAY_REQUIRE_REALLOC: bool = false;

    fn typecheck(asked: &InterfaceType, types: &InstanceType<'_>) -> Result<()> {
        T::typecheck(asked, types)
    }
}

// SAFETY: writes `SIZE32` bytes, all of them initialised, at the offset that it is given, and bounds are checked.
// Whatever they are, they are a value of a guest's memory only: what a guest makes of it is checked by the guest.
unsafe impl<T: ComponentType, const N: usize> Lower for Row<T, N> {
    fn linear_lower_to_flat<U>(
        &self,
        _: &mut LowerContext<'_, U>,
        _: InterfaceType,
        _: &mut std::mem::MaybeUninit<Self::Lower>,
    ) -> Result<()> {
        bail!("a row is handed over in memory only: its function has more than 16 parameters")
    }

    fn linear_lower_to_memory<U>(&self, to: &mut LowerContext<'_, U>, _: InterfaceType, offset: usize) -> Result<()> {
        *to.get(offset) = self.bytes;
        Ok(())
    }

    fn linear_store_list_to_memory<U>(
        to: &mut LowerContext<'_, U>,
        _: InterfaceType,
        offset: usize,
        items: &[Self],
    ) -> Result<()> {
        let memory = to.as_slice_mut().get_mut(offset..).unwrap_or_default();
        let (places, _) = memory.as_chunks_mut::<N>();
        if places.len() < items.len() {
            bail!("a list that does not fit the guest's memory");
        }
        places.iter_mut().zip(items).for_each(|(place, item)| *place = item.bytes);
        Ok(())
    }
}
