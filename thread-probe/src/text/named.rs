//! Enums whose values have a name in JSON, labels and logs: each value is declared once, with it.

/// What has such a name.
pub trait Named: Copy + PartialEq + 'static {
    /// All values, in the order of their declaration.
    const ALL: &'static [Self];

    /// The name.
    fn label(self) -> &'static str;

    /// Where it stands in [`Self::ALL`].
    fn index(self) -> usize;
}

/// Declares such an enum: each value with its name, which is also its JSON.
macro_rules! named {
    ($(#[$meta:meta])* pub enum $name:ident { $($(#[$of_value:meta])* $value:ident = $label:literal,)+ }) => {
        $(#[$meta])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
        )]
        pub enum $name {
            $($(#[$of_value])* #[serde(rename = $label)] $value,)+
        }

        impl $name {
            /// All of them, in the order of their declaration.
            pub const ALL: [Self; [$($label),+].len()] = [$(Self::$value),+];

            /// Its name in JSON, labels and logs.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$value => $label),+ }
            }
        }

        impl $crate::text::named::Named for $name {
            const ALL: &'static [Self] = &Self::ALL;

            fn label(self) -> &'static str {
                self.label()
            }

            fn index(self) -> usize {
                self as usize
            }
        }
    };
}

pub(crate) use named;
