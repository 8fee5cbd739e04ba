//! PURE. What each unit demands, read from its file once and shared by all units that demand the
//! same.
//!
//! Two things are interned here, because cost must follow how many *different* demands there are,
//! not how many units: a class is one combination of `MachineID=` and `MachineMetadata=`, a pattern
//! is one glob of `Conflicts=` or `Replaces=`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::Records;
use unitfile::{
    Demand, FileHash, Glob, MetadataTerm, Preference, Requirements, UnitFile, UnitHash, UnitName,
    X_FLEET,
};

/// How much of what is wrong with a file is kept in a hold, in characters: enough for the first
/// errors.
const PROBLEM_CHARS_MAX: usize = 300;

/// One combination of `MachineID=` and `MachineMetadata=`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct ClassIndex(pub(crate) usize);

/// One glob of `Conflicts=` or `Replaces=`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct PatternIndex(pub(crate) usize);

/// One template that has instances.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct TemplateIndex(pub(crate) usize);

/// One combination of reserved resources; the first is of nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct DemandIndex(pub(crate) usize);

/// One list of `Prefers=`; the first is empty.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct TasteIndex(pub(crate) usize);

/// What a class asks of a machine.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct ClassKey {
    pub(crate) machine_id: Option<String>,
    pub(crate) metadata: Vec<MetadataTerm>,
}

/// What one unit demands.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) requirements: Requirements,
    pub(crate) class: ClassIndex,
    pub(crate) demand: DemandIndex,
    pub(crate) taste: TasteIndex,
    /// The patterns of its `Conflicts=`, smallest index first.
    pub(crate) declares: Vec<PatternIndex>,
    /// The patterns of its `Replaces=`, smallest index first.
    pub(crate) replaces: Vec<PatternIndex>,
    /// What is wrong with its `[X-Fleet]`; none if nothing is.
    pub(crate) problem: Option<String>,
}

impl Rules {
    /// True if the unit reserves something.
    pub(crate) fn has_demand(&self) -> bool {
        self.demand != DemandIndex(0)
    }

    /// How much the unit counts as load.
    pub(crate) fn weight(&self) -> usize {
        usize::try_from(self.requirements.weight.0).unwrap_or(usize::MAX)
    }
}

/// Values numbered in the order in which they come.
#[derive(Debug)]
struct Numbered<T> {
    values: Vec<T>,
    numbers: BTreeMap<T, usize>,
}

impl<T: Clone + Ord> Numbered<T> {
    fn starting_with(value: T) -> Numbered<T> {
        Numbered {
            values: vec![value.clone()],
            numbers: BTreeMap::from([(value, 0)]),
        }
    }

    fn number(&mut self, value: &T) -> usize {
        if let Some(number) = self.numbers.get(value) {
            return *number;
        }
        let number = self.values.len();
        self.values.push(value.clone());
        self.numbers.insert(value.clone(), number);
        number
    }
}

/// A file's hash behind its first bytes as one number, which is compared far faster and nearly
/// always decides.
type Address = (u64, FileHash);

fn address(hash: &FileHash) -> Address {
    let first = hash
        .as_bytes()
        .first_chunk()
        .map_or(0, |it| u64::from_be_bytes(*it));
    (first, *hash)
}

/// Reads rules from files and numbers their classes and patterns.
#[derive(Debug)]
pub(crate) struct RuleBook {
    classes: Numbered<ClassKey>,
    demands: Numbered<Demand>,
    tastes: Numbered<Vec<Preference>>,
    templates: BTreeMap<UnitName, TemplateIndex>,
    last_template: Option<(UnitName, TemplateIndex)>,
    patterns: BTreeMap<String, PatternIndex>,
    globs: Vec<Glob>,
    /// The patterns by what every name that they match begins with.
    by_prefix: BTreeMap<String, Vec<PatternIndex>>,
    /// Rules of files that say the same under every name; none for a file whose rules depend on the
    /// name.
    shared: BTreeMap<Address, Option<Arc<Rules>>>,
    last_shared: Option<(FileHash, Arc<Rules>)>,
    /// Files with an `[X-Fleet]` by what they say; none until an earlier version of a unit is seen.
    versions: Option<BTreeMap<UnitHash, BTreeSet<FileHash>>>,
    /// The rules of a unit that demands nothing.
    free: Arc<Rules>,
    /// How many rules were read since all was read.
    reads: usize,
}

/// So many rules may be read before it is looked at whether most of them are forgotten.
const READS_MAX: usize = 100_000;

impl RuleBook {
    pub(crate) fn new() -> RuleBook {
        let free = Rules {
            requirements: Requirements::default(),
            class: ClassIndex(0),
            demand: DemandIndex(0),
            taste: TasteIndex(0),
            declares: Vec::new(),
            replaces: Vec::new(),
            problem: None,
        };
        RuleBook {
            classes: Numbered::starting_with(ClassKey::default()),
            demands: Numbered::starting_with(Demand::default()),
            tastes: Numbered::starting_with(Vec::new()),
            templates: BTreeMap::new(),
            last_template: None,
            patterns: BTreeMap::new(),
            globs: Vec::new(),
            by_prefix: BTreeMap::new(),
            shared: BTreeMap::new(),
            last_shared: None,
            versions: None,
            reads: 0,
            free: Arc::new(free),
        }
    }

    /// The rules of a unit of which nothing is known.
    pub(crate) fn free(&self) -> Arc<Rules> {
        Arc::clone(&self.free)
    }

    /// The rules that the file at `hash` makes for a unit called `name`; none if the file is
    /// missing.
    pub(crate) fn read(
        &mut self,
        name: &UnitName,
        hash: &FileHash,
        records: &Records,
    ) -> Option<Arc<Rules>> {
        self.reads += 1;
        // Units of one file are mostly neighbours by name.
        if let Some((last, rules)) = &self.last_shared
            && last == hash
        {
            return Some(Arc::clone(rules));
        }
        if let Some(Some(rules)) = self.shared.get(&address(hash)) {
            self.last_shared = Some((*hash, Arc::clone(rules)));
            return Some(Arc::clone(rules));
        }
        let file = records.files.get(hash)?;
        let (rules, shared) = match sharing(file) {
            Sharing::Free => (self.free(), Some(self.free())),
            Sharing::SameForAll => {
                let rules = Arc::new(self.intern(name, file));
                (Arc::clone(&rules), Some(rules))
            }
            Sharing::ByName => (Arc::new(self.intern(name, file)), None),
        };
        self.shared.insert(address(hash), shared);
        Some(rules)
    }

    /// Takes in that a file came or went.
    pub(crate) fn update_file(
        &mut self,
        hash: &FileHash,
        before: Option<&UnitFile>,
        now: Option<&UnitFile>,
    ) {
        self.shared.remove(&address(hash));
        self.last_shared = None;
        if let Some(versions) = &mut self.versions {
            if let Some(file) = before
                && let Some(files) = versions.get_mut(&file.hash())
            {
                files.remove(hash);
            }
            if let Some(file) = now.filter(|file| says_something(file)) {
                versions.entry(file.hash()).or_default().insert(*hash);
            }
        }
    }

    /// A file that says what `hash` stands for and has an `[X-Fleet]`.
    pub(crate) fn version(&mut self, hash: &UnitHash, records: &Records) -> Option<FileHash> {
        let versions = self.versions.get_or_insert_with(|| {
            let mut versions: BTreeMap<UnitHash, BTreeSet<FileHash>> = BTreeMap::new();
            for (address, file) in records
                .files
                .iter()
                .filter(|(_, file)| says_something(file))
            {
                versions.entry(file.hash()).or_default().insert(*address);
            }
            versions
        });
        versions.get(hash)?.last().copied()
    }

    /// True if so many rules were read one by one that most may be of units that are gone.
    pub(crate) fn is_overgrown(&self) -> bool {
        self.reads > READS_MAX + 2 * self.shared.len()
    }

    /// Says that all there is has been read.
    pub(crate) fn all_read(&mut self) {
        self.reads = 0;
    }

    /// The patterns, each at its index.
    pub(crate) fn globs(&self) -> &[Glob] {
        &self.globs
    }

    /// All patterns, in order of what the names that they match begin with.
    pub(crate) fn by_prefix(&self) -> Vec<PatternIndex> {
        self.by_prefix.values().flatten().copied().collect()
    }

    /// The patterns that match the name, smallest index first.
    pub(crate) fn matching(&self, name: &UnitName) -> Vec<PatternIndex> {
        let name = name.as_str();
        let prefixes = (0..=name.len()).filter_map(|end| name.get(..end));
        let mut matching: Vec<PatternIndex> = prefixes
            .filter_map(|prefix| self.by_prefix.get(prefix))
            .flatten()
            .copied()
            .filter(|pattern| self.globs[pattern.0].matches(name))
            .collect();
        matching.sort_unstable();
        matching
    }

    /// The classes, each at its index.
    pub(crate) fn classes(&self) -> &[ClassKey] {
        &self.classes.values
    }

    /// What is reserved, each at its index.
    pub(crate) fn demands(&self) -> &[Demand] {
        &self.demands.values
    }

    /// The lists of preferences, each at its index.
    pub(crate) fn tastes(&self) -> &[Vec<Preference>] {
        &self.tastes.values
    }

    /// How many templates have instances.
    pub(crate) fn templates(&self) -> usize {
        self.templates.len()
    }

    /// The template of which the unit is an instance.
    pub(crate) fn template(&mut self, name: &UnitName) -> Option<TemplateIndex> {
        if !name.is_instance() {
            return None;
        }
        // Names come in their order: mostly it is the one of the name before.
        if let Some((template, index)) = &self.last_template
            && name.is_instance_of(template)
        {
            return Some(*index);
        }
        let next = TemplateIndex(self.templates.len());
        let template = name.template()?;
        let index = *self.templates.entry(template.clone()).or_insert(next);
        self.last_template = Some((template, index));
        Some(index)
    }

    fn intern(&mut self, name: &UnitName, file: &UnitFile) -> Rules {
        let (requirements, errors) = Requirements::of_stored(name, file);
        let key = ClassKey {
            machine_id: requirements.machine_id.clone(),
            metadata: requirements.metadata.clone(),
        };
        let class = ClassIndex(self.classes.number(&key));
        let demand = DemandIndex(self.demands.number(&requirements.demand));
        let taste = TasteIndex(self.tastes.number(&requirements.prefers));
        let declares = self.patterns_of(&requirements.conflicts);
        let replaces = self.patterns_of(&requirements.replaces);
        let problem = (!errors.is_empty()).then(|| {
            let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
            all.join("; ").chars().take(PROBLEM_CHARS_MAX).collect()
        });
        Rules {
            requirements,
            class,
            demand,
            taste,
            declares,
            replaces,
            problem,
        }
    }

    fn patterns_of(&mut self, globs: &[Glob]) -> Vec<PatternIndex> {
        let mut patterns: Vec<PatternIndex> = globs.iter().map(|glob| self.pattern(glob)).collect();
        patterns.sort_unstable();
        patterns.dedup();
        patterns
    }

    fn pattern(&mut self, glob: &Glob) -> PatternIndex {
        if let Some(index) = self.patterns.get(glob.as_str()) {
            return *index;
        }
        let index = PatternIndex(self.globs.len());
        self.patterns.insert(glob.as_str().to_owned(), index);
        self.globs.push(glob.clone());
        self.by_prefix
            .entry(glob.literal_prefix())
            .or_default()
            .push(index);
        index
    }
}

fn says_something(file: &UnitFile) -> bool {
    file.options()
        .iter()
        .any(|option| option.section == X_FLEET)
}

/// Whether two units with one file have the same rules.
enum Sharing {
    /// There is no `[X-Fleet]`: nothing is demanded.
    Free,
    /// No specifier in it, and no peer that could be the unit itself.
    SameForAll,
    /// The rules depend on the unit's name.
    ByName,
}

/// True if what is wrong with an option can depend on the unit's name without a specifier.
fn depends_on_name(option: &str) -> bool {
    option.ends_with("Of") || option == "MaxPerMachine"
}

fn sharing(file: &UnitFile) -> Sharing {
    let mut sharing = Sharing::Free;
    for option in file.options() {
        // A misspelt section is an error of the file; it too must be read in full.
        if option.section.eq_ignore_ascii_case(X_FLEET) {
            if option.value.contains('%') || depends_on_name(&option.name) {
                return Sharing::ByName;
            }
            sharing = Sharing::SameForAll;
        } else if !matches!(option.section.as_str(), "Unit" | "Service" | "Install") {
            sharing = Sharing::SameForAll;
        }
    }
    sharing
}
