//! Functions that components export, called by their types.
//!
//! The generated bindings compare a function's types anew for each instance. Here they are compared once, for
//! the component; of a fresh instance's call that was the larger part.
#![allow(unsafe_code, reason = "wasmtime has no safe way to say that a function's types were checked before")]

use std::marker::PhantomData;

use wasmtime::component::types::ComponentItem;
use wasmtime::component::{
    ComponentExportIndex, ComponentNamedList, Func, Instance, InstancePre, Lift, Lower, TypedFunc,
};
use wasmtime::{Result, Store, bail, format_err};

use super::host::HostState;

/// A function of the contract.
pub(super) trait Function {
    /// The exported interface that it is in, with its version.
    const INTERFACE: &'static str;
    const NAME: &'static str;
    type Parameters<'a>: ComponentNamedList + Lower;
    type Answer: Lift;
}

/// Where a component has the function, whose types are `F`'s.
pub(super) struct Found<F>(ComponentExportIndex, PhantomData<fn(F)>);

/// The function of an instance.
pub(super) struct Exported<F>(Func, PhantomData<fn(F)>);

impl<F: Function> Found<F> {
    /// Looks for it. An error: there is none, or it is of other types.
    pub(super) fn of(pre: &InstancePre<HostState>) -> Result<Self> {
        let (component, interface, name) = (pre.component(), F::INTERFACE, F::NAME);
        let missing = || format_err!("there is no function `{name}` in an exported `{interface}`");
        let exported = component.get_export_index(None, interface).ok_or_else(missing)?;
        let (item, index) = component.get_export(Some(&exported), name).ok_or_else(missing)?;
        let ComponentItem::ComponentFunc(function) = item else { bail!("`{name}` of `{interface}` is no function") };
        let checked = function.typecheck::<F::Parameters<'static>, (F::Answer,)>(&pre.instance_type());
        checked.map_err(|error| error.context(format!("`{name}` of `{interface}` has other types")))?;
        Ok(Self(index, PhantomData))
    }

    /// That of an instance of the component.
    pub(super) fn load(&self, store: &mut Store<HostState>, instance: &Instance) -> Result<Exported<F>> {
        // The index is of one component, and found in no instance of another.
        let function = instance.get_func(store, self.0);
        Ok(Exported(function.ok_or_else(|| format_err!("an instance of another component"))?, PhantomData))
    }
}

impl<F: Function> Exported<F> {
    /// Calls it. An error is a trap, or the host's.
    pub(super) fn call(&self, store: &mut Store<HostState>, parameters: F::Parameters<'_>) -> Result<F::Answer> {
        // SAFETY: `Found::of` compared the component's types with these; lifetimes are no part of them.
        let function = unsafe { TypedFunc::<F::Parameters<'_>, (F::Answer,)>::new_unchecked(self.0) };
        Ok(function.call(store, parameters)?.0)
    }
}
