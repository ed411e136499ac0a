//! Who may do what, by the role in the care team and the type of resource.

use fhir::{Coding, PersonKind};

use crate::config::Roles;

/// The power level of a care team's lead.
pub const LEAD: i64 = 100;
/// The power level of a professional.
pub const PROFESSIONAL: i64 = 75;
/// The power level of a related person.
pub const RELATED: i64 = 50;
/// The power level of the client, and of everybody else.
pub const CLIENT: i64 = 25;

/// The power level of a member with these roles: the highest that one of the codes gives, else what the type of
/// resource gives.
#[must_use]
pub fn level(kind: PersonKind, roles: &[Coding], map: &Roles) -> i64 {
    let given = [
        (&map.lead, LEAD),
        (&map.professional, PROFESSIONAL),
        (&map.related, RELATED),
        (&map.client, CLIENT),
    ]
    .into_iter()
    .find(|(codes, _)| roles.iter().any(|role| is_among(role, codes)));
    if let Some((_, level)) = given {
        return level;
    }
    match kind {
        PersonKind::Practitioner
        | PersonKind::PractitionerRole
        | PersonKind::Organization
        | PersonKind::HealthcareService => PROFESSIONAL,
        PersonKind::RelatedPerson => RELATED,
        PersonKind::Patient => CLIENT,
    }
}

/// The code to show for a member's role: the first of SNOMED's, else the first there is.
#[must_use]
pub fn code(roles: &[Coding]) -> Option<&str> {
    let snomed = |role: &&Coding| role.system.as_deref() == Some("http://snomed.info/sct");
    roles
        .iter()
        .filter(|role| role.code.is_some())
        .find(snomed)
        .or_else(|| roles.iter().find(|role| role.code.is_some()))
        .and_then(|role| role.code.as_deref())
}

fn is_among(role: &Coding, codes: &[String]) -> bool {
    let Some(code) = role.code.as_deref() else {
        return false;
    };
    codes.iter().any(|wanted| match wanted.rsplit_once('|') {
        Some((system, wanted)) => role.system.as_deref() == Some(system) && wanted == code,
        None => wanted == code,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coding(system: Option<&str>, code: &str) -> Coding {
        Coding {
            system: system.map(str::to_owned),
            code: Some(code.to_owned()),
            display: None,
        }
    }

    const SNOMED: Option<&str> = Some("http://snomed.info/sct");

    #[test]
    fn a_code_decides_before_the_type_and_the_highest_counts() {
        let map = Roles {
            professional: vec!["arts".to_owned()],
            ..Roles::default()
        };
        let lead = coding(SNOMED, "768820003");
        let relative = coding(SNOMED, "125677006");
        for (kind, roles, expected) in [
            (PersonKind::Practitioner, vec![], PROFESSIONAL),
            (PersonKind::RelatedPerson, vec![], RELATED),
            (PersonKind::Patient, vec![], CLIENT),
            (PersonKind::Organization, vec![], PROFESSIONAL),
            (PersonKind::Practitioner, vec![relative.clone()], RELATED),
            (PersonKind::Practitioner, vec![relative, lead.clone()], LEAD),
            (PersonKind::RelatedPerson, vec![lead], LEAD),
            (
                PersonKind::RelatedPerson,
                vec![coding(None, "arts")],
                PROFESSIONAL,
            ),
            // The same code of another system says something else.
            (
                PersonKind::Practitioner,
                vec![coding(Some("urn:x"), "768820003")],
                PROFESSIONAL,
            ),
        ] {
            assert_eq!(level(kind, &roles, &map), expected, "{kind:?}");
        }
    }

    #[test]
    fn words_are_no_code() {
        let words = Coding {
            system: None,
            code: None,
            display: Some("768820003".to_owned()),
        };
        assert_eq!(
            level(
                PersonKind::Patient,
                std::slice::from_ref(&words),
                &Roles::default()
            ),
            CLIENT
        );
        assert_eq!(code(&[words]), None);
        assert_eq!(code(&[coding(None, "a"), coding(SNOMED, "1")]), Some("1"));
    }
}
