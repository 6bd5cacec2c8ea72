//! Whether the people who approved are the people who are needed: people are counted, not groups.

use super::{Need, Said};

/// Whether each need can be met by people of its group, nobody standing for two.
pub(super) fn is_enough(needs: &[Need], approvals: &[Said]) -> bool {
    let approvals = distinct(approvals);
    let places: Vec<&str> = needs
        .iter()
        .flat_map(|need| {
            std::iter::repeat_n(
                need.group.as_str(),
                usize::try_from(need.count).unwrap_or(usize::MAX).min(MOST),
            )
        })
        .collect();
    // A hold that needs nobody was made by no policy.
    if places.is_empty() || places.len() > approvals.len() {
        return false;
    }
    let mut holder: Vec<Option<usize>> = vec![None; approvals.len()];
    places.iter().enumerate().all(|(place, _)| {
        let mut tried = vec![false; approvals.len()];
        seat(place, (&places, &approvals), (&mut holder, &mut tried))
    })
}

/// More places than anybody asks for.
const MOST: usize = 100;

/// One of each person: somebody who has two accounts is counted once.
fn distinct(approvals: &[Said]) -> Vec<&Said> {
    let mut kept: Vec<&Said> = Vec::new();
    for said in approvals {
        if !kept.iter().any(|other| other.is_person(&said.people)) {
            kept.push(said);
        }
    }
    kept
}

/// Finds somebody for a place, moving others who could stand elsewhere (augmenting paths).
fn seat(
    place: usize,
    (places, approvals): (&[&str], &[&Said]),
    (holder, tried): (&mut Vec<Option<usize>>, &mut Vec<bool>),
) -> bool {
    let Some(group) = places.get(place) else { return false };
    for (person, said) in approvals.iter().enumerate() {
        if !said.groups.iter().any(|of| of == group)
            || tried.get_mut(person).is_none_or(|tried| std::mem::replace(tried, true))
        {
            continue;
        }
        let is_free = match holder.get(person).copied().flatten() {
            None => true,
            Some(other) => seat(other, (places, approvals), (holder, tried)),
        };
        if is_free {
            if let Some(held) = holder.get_mut(person) {
                *held = Some(place);
            }
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::{Need, Said, is_enough};

    fn said(who: &str, groups: &[&str]) -> Said {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        Said {
            who: who.to_owned(),
            people: vec![who.to_owned()],
            groups,
            is_approval: true,
            reason: None,
            at: 0,
        }
    }

    fn needs(needs: &[(&str, u32)]) -> Vec<Need> {
        needs.iter().map(|(group, count)| Need { group: (*group).to_owned(), count: *count }).collect()
    }

    #[test]
    fn people_are_counted_not_groups() {
        let both = said("ann", &["finance", "oncall"]);
        let one = needs(&[("finance", 1), ("oncall", 1)]);
        assert!(!is_enough(&one, std::slice::from_ref(&both)), "one person in two groups is one person");
        assert!(is_enough(&one, &[both.clone(), said("bob", &["finance"])]), "ann stands for oncall then");
        assert!(!is_enough(&one, &[said("bob", &["finance"]), said("cid", &["finance"])]));
        let two = needs(&[("finance", 2)]);
        assert!(!is_enough(&two, &[said("ann", &["finance"]), said("ann", &["finance"])]), "twice the same");
        assert!(is_enough(&two, &[said("ann", &["finance"]), said("bob", &["finance"])]));
        assert!(!is_enough(&[], &[both]), "nothing is needed by no policy");
        assert!(!is_enough(&needs(&[("finance", u32::MAX)]), &[said("ann", &["finance"])]));
    }
}
