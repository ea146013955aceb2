//! Files that say they are backups: what is taken is the one archive of its manifest, byte for byte.
#![no_main]

use std::collections::BTreeMap;

use custody::backup::{Archive, Member};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|file: &[u8]| {
    let Ok(archive) = Archive::open(file, None) else {
        return;
    };
    let mut members = BTreeMap::<_, Vec<u8>>::new();
    let copied = archive.copy(|member, bytes| {
        members.entry(member.name).or_default().extend(bytes);
        Ok(())
    });
    let Ok(sealed) = copied else {
        return;
    };
    assert_eq!(sealed.size(), file.len() as u64);
    let read = |member: &Member, from: u64, buffer: &mut [u8]| {
        let from = usize::try_from(from).expect("it is in memory");
        buffer.copy_from_slice(&members[&member.name][from..][..buffer.len()]);
        Ok(())
    };
    let again = sealed.read_at(0, file.len() + 1, read);
    assert_eq!(again.expect("it is in memory"), file);
});
