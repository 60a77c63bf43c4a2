//! The hint that a function which ends an object was given it twice: `fclose` reads what it is given before
//! it releases it, so the error of a second call is a use after free and no double free.

use super::lessons::python_place;
use super::message::foreign_name;
use super::model::{Finding, ForeignFunction};
use crate::detect::FindingKind;

/// The hint for a use after free, given the calls that its block was released in and that the access happened
/// in. Those are two when they were made at different lines; of one line nobody knows.
pub(super) fn hint(
    finding: &Finding,
    released_in: Option<&ForeignFunction>,
    accessed_in: Option<&ForeignFunction>,
) -> Option<String> {
    let stacks = &finding.stacks;
    let is_access =
        finding.known_kind() == Some(FindingKind::UseAfterFree) && finding.damage.is_none();
    let called = released_in.filter(|_| is_access && released_in == accessed_in)?;
    let (before, now) = (python_place(&stacks.released)?, python_place(&stacks.here)?);
    (before != now).then(|| {
        format!(
            "released in an earlier call of {}, at {before}: likely the same object was given to it twice",
            foreign_name(called)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixtures::{foreign, python};
    use crate::report::model::{Damage, Stacks};

    fn hinted(kind: &str, lines: [u32; 2], functions: [&str; 2], is_late: bool) -> Option<String> {
        let [released, here] = lines.map(|line| vec![python("/p/app.py", line, "f")]);
        let finding = Finding {
            kind: kind.to_owned(),
            damage: is_late.then(Damage::default),
            stacks: Stacks {
                released,
                here,
                ..Stacks::default()
            },
            ..Finding::default()
        };
        let [released_in, accessed_in] = functions.map(|name| foreign("/lib/libc.so.6", name));
        hint(&finding, Some(&released_in), Some(&accessed_in))
    }

    #[test]
    fn a_second_call_of_the_function_that_released_the_block_is_named() {
        let twice = ["fclose", "fclose"];
        assert_eq!(
            hinted("use-after-free", [5, 9], twice, false).as_deref(),
            Some(
                "released in an earlier call of libc.so.6 fclose, at app.py:5 in f: likely the same \
                 object was given to it twice"
            )
        );
        let others = [
            hinted("use-after-free", [5, 9], ["fclose", "fread"], false),
            hinted("use-after-free", [5, 5], twice, false),
            hinted("use-after-free", [5, 9], twice, true),
            hinted("double-free", [5, 9], twice, false),
        ];
        assert!(others.iter().all(Option::is_none));
    }
}
