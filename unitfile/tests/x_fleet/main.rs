//! `[X-Fleet]`: what each option means, what is refused at submission, and what stored records get away with.

mod verdict;

mod metadata;
mod needs;
mod others;
mod whole;
