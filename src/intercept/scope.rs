//! Which definition of a function a reference is bound to, for slots that ld.so has not bound yet.
//!
//! ld.so searches the program and what was loaded with it, in load order, and then the library that
//! was opened together with what it needs. A library opened with `RTLD_DEEPBIND` searches itself
//! first, and one opened with `RTLD_GLOBAL` joins the first group: neither can be told from
//! outside, and both matter only to slots not yet bound whose name has two definitions.

use super::image::Image;

/// The order in which loaded objects are searched.
#[derive(Debug)]
pub(super) struct SearchOrder {
    /// How many objects at the head of the list were loaded with the program.
    program_count: usize,
}

impl SearchOrder {
    /// Finds out which objects were loaded with the program: ld.so lists them first.
    pub(super) fn of(images: &[Image<'_>]) -> Self {
        let last = closure(images, 0).into_iter().max().unwrap_or(0);
        Self {
            program_count: (last + 1).min(images.len()),
        }
    }

    /// The address that a reference to `name` in `images[of]` is bound to.
    pub(super) fn definition(&self, images: &[Image<'_>], of: usize, name: &[u8]) -> Option<usize> {
        let image = images.get(of)?;
        let own = if image.is_symbolic() {
            image.definition(name)
        } else {
            None
        };
        own.or_else(|| self.program_definition(images, name))
            .or_else(|| {
                let mut order = closure(images, of).into_iter();
                order.find_map(|place| images.get(place)?.definition(name))
            })
            .or_else(|| images.iter().find_map(|image| image.definition(name)))
    }

    /// The definition that most of the process uses.
    pub(super) fn program_definition(&self, images: &[Image<'_>], name: &[u8]) -> Option<usize> {
        images
            .iter()
            .take(self.program_count)
            .find_map(|image| image.definition(name))
    }
}

/// The object at `root` and what it needs, breadth first, as indexes into `images`.
fn closure(images: &[Image<'_>], root: usize) -> Vec<usize> {
    let mut order = vec![root];
    let mut next = 0;
    while let Some(&place) = order.get(next) {
        next += 1;
        let needed = images.get(place).map(Image::needed).unwrap_or_default();
        for name in needed {
            let found = images.iter().position(|image| answers_to(image, name));
            if let Some(found) = found
                && !order.contains(&found)
            {
                order.push(found);
            }
        }
    }
    order
}

fn answers_to(image: &Image<'_>, name: &[u8]) -> bool {
    image.soname() == Some(name) || image.file_name() == name || image.name() == name
}
