//! The files of a crate, and which uses which.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    fs,
    path::{Path, PathBuf},
};

use syn::{
    Attribute, Item, Macro, UseTree, Visibility,
    visit::{self, Visit},
};

/// The path of a module from the crate's root; that of a file.
pub(crate) type Module = Vec<String>;
/// A path as it is written, name by name.
type Written = Vec<String>;

/// A crate.
pub(crate) struct Crate {
    files: BTreeMap<Module, File>,
}

/// A file, tests aside.
#[derive(Default)]
struct File {
    path: PathBuf,
    /// Modules that have a file of their own.
    children: BTreeSet<String>,
    /// What it hands on from elsewhere, by name: that is no use of it.
    handed_on: BTreeMap<String, Written>,
    /// Every other path in it.
    paths: BTreeSet<Written>,
}

impl Crate {
    /// Reads a crate from its root file on.
    pub(crate) fn read(root: &Path) -> Result<Self, Box<dyn Error>> {
        let folder = root.parent().ok_or("a root file has a folder")?;
        let mut made = Self { files: BTreeMap::new() };
        made.read_file(folder, Module::new(), root)?;
        for file in made.files.values_mut() {
            file.path = file.path.strip_prefix(folder)?.to_owned();
        }
        Ok(made)
    }

    fn read_file(&mut self, root: &Path, module: Module, path: &Path) -> Result<(), Box<dyn Error>> {
        let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let syntax = syn::parse_file(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut file = File { path: path.to_owned(), ..File::default() };
        syntax.items.iter().for_each(|item| file.visit_item(item));
        let folder = module.iter().fold(root.to_owned(), |folder, name| folder.join(name));
        for child in file.children.clone() {
            let alone = folder.join(format!("{child}.rs"));
            let path = if alone.exists() { alone } else { folder.join(&child).join("mod.rs") };
            self.read_file(root, [module.clone(), vec![child]].concat(), &path)?;
        }
        self.files.insert(module, file);
        Ok(())
    }

    /// The modules at the top.
    pub(crate) fn rooms(&self) -> impl Iterator<Item = &String> {
        self.files.get(&Module::new()).into_iter().flat_map(|file| &file.children)
    }

    /// Modules that have others in them.
    pub(crate) fn folders(&self) -> impl Iterator<Item = Module> {
        self.files.iter().filter(|(_, file)| !file.children.is_empty()).map(|(module, _)| module.clone())
    }

    /// Where a module's text is, from the crate's folder on.
    pub(crate) fn file(&self, module: &Module) -> String {
        self.files.get(module).map(|file| file.path.display().to_string()).unwrap_or_default()
    }

    /// Every path that a file has.
    pub(crate) fn paths(&self) -> impl Iterator<Item = (&Module, &Written)> {
        self.files.iter().flat_map(|(module, file)| file.paths.iter().map(move |path| (module, path)))
    }

    /// Each file that names something of another.
    pub(crate) fn arrows(&self) -> BTreeSet<(Module, Module)> {
        let arrows = self.paths().filter_map(|(from, path)| Some((from.clone(), self.home(from, path)?)));
        arrows.filter(|(from, to)| from != to).collect()
    }

    /// The file that has what a path names, through what others hand on; `None` if that is of another crate.
    fn home(&self, from: &Module, path: &[String]) -> Option<Module> {
        let (mut at, mut rest) = match path.first()?.as_str() {
            "crate" => (Module::new(), &path[1..]),
            "self" => (from.clone(), &path[1..]),
            "super" => {
                let up = path.iter().take_while(|name| *name == "super").count();
                (from[..from.len().saturating_sub(up)].to_vec(), &path[up..])
            }
            first if self.files[from].children.contains(first) => (from.clone(), path),
            _ => return None,
        };
        while let Some((next, after)) = rest.split_first() {
            let file = self.files.get(&at)?;
            let is_module = file.children.contains(next);
            // A function may have the name of its module: where more follows, the module is meant.
            if let Some(target) = file.handed_on.get(next).filter(|_| !is_module || after.is_empty()) {
                return self.home(&at, target).or(Some(at));
            }
            if !is_module {
                break;
            }
            at.push(next.clone());
            rest = after;
        }
        Some(at)
    }
}

/// Whether it is there for tests alone.
fn is_of_tests(attributes: &[Attribute]) -> bool {
    let is_test = |attribute: &Attribute| attribute.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test"));
    attributes.iter().any(|attribute| attribute.path().is_ident("cfg") && is_test(attribute))
}

/// Each name that a `use` brings, with its path.
fn brought(tree: &UseTree, before: &[String], to: &mut Vec<(String, Written)>) {
    let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
    match tree {
        UseTree::Path(path) => brought(&path.tree, &with(&path.ident), to),
        UseTree::Group(group) => group.items.iter().for_each(|item| brought(item, before, to)),
        UseTree::Name(name) if name.ident == "self" => {
            to.push((before.last().cloned().unwrap_or_default(), before.to_vec()));
        }
        UseTree::Name(name) => to.push((name.ident.to_string(), with(&name.ident))),
        UseTree::Rename(renamed) => to.push((renamed.rename.to_string(), with(&renamed.ident))),
        UseTree::Glob(_) => to.push(("*".to_owned(), before.to_vec())),
    }
}

impl<'ast> Visit<'ast> for File {
    fn visit_item(&mut self, item: &'ast Item) {
        match item {
            Item::Mod(inner) if is_of_tests(&inner.attrs) => {}
            Item::Mod(inner) if inner.content.is_none() => {
                self.children.insert(inner.ident.to_string());
            }
            Item::Use(import) if !is_of_tests(&import.attrs) => {
                let mut names = Vec::new();
                brought(&import.tree, &[], &mut names);
                match import.vis {
                    Visibility::Inherited => self.paths.extend(names.into_iter().map(|(_, path)| path)),
                    _ => self.handed_on.extend(names),
                }
            }
            Item::Fn(function) if is_of_tests(&function.attrs) => {}
            Item::Impl(block) if is_of_tests(&block.attrs) => {}
            _ => visit::visit_item(self, item),
        }
    }

    /// Who may see something is no use of it.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.paths.insert(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }

    /// What is in a macro is no syntax yet: there a path begins with `crate`.
    fn visit_macro(&mut self, call: &'ast Macro) {
        let text = call.tokens.to_string();
        let is_of_name = |c: char| c.is_alphanumeric() || c == '_';
        for (at, _) in text.match_indices("crate ::") {
            let names = text[at..].split("::").map(str::trim);
            let whole = |name: &&str| name.chars().all(is_of_name);
            let mut path: Written = names.clone().take_while(whole).map(str::to_owned).collect();
            let last = names.skip(path.len()).map(|name| name.chars().take_while(|c| is_of_name(*c)).collect()).next();
            path.extend(last);
            self.paths.insert(path);
        }
        visit::visit_macro(self, call);
    }
}
