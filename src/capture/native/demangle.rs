//! Names as programmers write them.

use cpp_demangle::{DemangleOptions, Symbol};

/// Longer names are cut here: templates nest without limit.
const NAME_BYTE_MAX: usize = 2_048;

/// The readable form of a symbol: C++ without parameters and return type, as debuggers print
/// names, Rust without the hash. A name of neither language stays as it is.
pub(super) fn readable(symbol: &str) -> String {
    let mut name = match rustc_demangle::try_demangle(symbol) {
        Ok(name) => format!("{name:#}"),
        Err(_) => cpp(symbol).unwrap_or_else(|| unversioned(symbol).to_owned()),
    };
    if name.len() > NAME_BYTE_MAX {
        let is_boundary = |&end: &usize| name.is_char_boundary(end);
        let end = (0..=NAME_BYTE_MAX).rev().find(is_boundary);
        name.truncate(end.unwrap_or(0));
        name.push_str("...");
    }
    name
}

fn cpp(symbol: &str) -> Option<String> {
    if !symbol.starts_with("_Z") {
        return None;
    }
    let options = DemangleOptions::default().no_params().no_return_type();
    Symbol::new(symbol.as_bytes())
        .ok()?
        .demangle_with_options(&options)
        .ok()
}

/// `malloc@@GLIBC_2.2.5` is `malloc`.
fn unversioned(symbol: &str) -> &str {
    match symbol.split_once('@') {
        Some((name, _)) if !name.is_empty() => name,
        _ => symbol,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_language_has_its_form() {
        let rust = "_ZN4core3fmt5Write9write_fmt17h0123456789abcdefE";
        assert_eq!(readable(rust), "core::fmt::Write::write_fmt");
        assert_eq!(readable("_ZN3app6Matrix4growEmRKSs"), "app::Matrix::grow");
        assert_eq!(
            readable("_ZNSt6vectorIdSaIdEE7reserveEm"),
            "std::vector<double, std::allocator<double> >::reserve"
        );
        assert_eq!(readable("get_shared_memory"), "get_shared_memory");
        assert_eq!(readable("malloc@@GLIBC_2.2.5"), "malloc");
        assert_eq!(readable("_Znwm"), "operator new");
        assert_eq!(readable("_Zbroken"), "_Zbroken");
    }

    #[test]
    fn what_the_compiler_hangs_on_a_name_is_left_out() {
        let moved = "_ZN3app4grow17h0123456789abcdefE.llvm.3232084482069533677";
        assert_eq!(readable(moved), "app::grow");
        assert_eq!(readable("_ZN3app4growEv.cold"), "app::grow");
    }

    #[test]
    fn a_name_without_end_is_cut() {
        let long = "x".repeat(5_000);
        assert_eq!(readable(&long).len(), NAME_BYTE_MAX + 3);
    }
}
