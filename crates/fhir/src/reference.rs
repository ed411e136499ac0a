use std::fmt;

use serde_json::Value;
use url::Url;

/// Declares [`ResourceType`] with one variant per type that the code of this workspace tells apart.
macro_rules! resource_types {
    ($($name:ident),* $(,)?) => {
        /// The type of a FHIR resource: the ones this workspace tells apart by name, and any other.
        ///
        /// Spec: <http://hl7.org/fhir/R4/resourcelist.html>
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum ResourceType {
            $(
                #[doc = concat!("[`", stringify!($name), "`](http://hl7.org/fhir/R4/", stringify!($name), ".html)")]
                $name,
            )*
            /// Any other type.
            Other(OtherType),
        }

        impl ResourceType {
            /// The type's name, such as `Communication`.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$name => stringify!($name),)*
                    Self::Other(other) => &other.0,
                }
            }

            /// Reads a type's name: a capital letter, then letters, 64 at most. `None` for anything
            /// else.
            #[must_use]
            pub fn parse(name: &str) -> Option<Self> {
                match name {
                    $(stringify!($name) => Some(Self::$name),)*
                    _ => {
                        let formed = name.len() <= 64
                            && name.starts_with(|c: char| c.is_ascii_uppercase())
                            && name.bytes().all(|b| b.is_ascii_alphabetic());
                        formed.then(|| Self::Other(OtherType(name.into())))
                    }
                }
            }
        }
    };
}

resource_types!(
    AuditEvent,
    Binary,
    CareTeam,
    Communication,
    CommunicationRequest,
    Device,
    DocumentReference,
    Endpoint,
    Group,
    HealthcareService,
    Location,
    Organization,
    Patient,
    Person,
    Practitioner,
    PractitionerRole,
    Provenance,
    RelatedPerson,
    Subscription,
    Task,
);

impl ResourceType {
    /// Whether a resource of this type stands for a human being, so that even its id stays out of
    /// logs.
    pub(crate) fn is_human(&self) -> bool {
        matches!(
            self,
            Self::Patient
                | Self::Person
                | Self::Practitioner
                | Self::PractitionerRole
                | Self::RelatedPerson
        )
    }
}

impl fmt::Display for ResourceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The name of a resource type that [`ResourceType`] has no variant for: well-formed, and not one
/// of the variants.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OtherType(Box<str>);

/// A resource on the FHIR server that the client speaks to: type and logical id, both well-formed.
///
/// `Display` is the relative reference (`CareTeam/7`), for building references. `Debug` leaves out
/// the ids of people.
///
/// Spec: <http://hl7.org/fhir/R4/references.html#literal>
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceRef {
    resource_type: ResourceType,
    id: Box<str>,
}

impl ResourceRef {
    /// Puts a reference together. `None` when the id is not one: 1 to 64 of `A-Z a-z 0-9 - .`
    /// (<http://hl7.org/fhir/R4/datatypes.html#id>).
    #[must_use]
    pub fn try_new(resource_type: ResourceType, id: &str) -> Option<Self> {
        is_id(id).then(|| Self {
            resource_type,
            id: id.into(),
        })
    }

    /// Reads `Type/id` or `Type/id/_history/version`. `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('/');
        let resource_type = ResourceType::parse(parts.next()?)?;
        let reference = Self::try_new(resource_type, parts.next()?)?;
        match (parts.next(), parts.next(), parts.next()) {
            (None, None, None) => Some(reference),
            (Some("_history"), Some(version), None) if is_id(version) => Some(reference),
            _ => None,
        }
    }

    /// The resource's type.
    #[must_use]
    pub fn resource_type(&self) -> &ResourceType {
        &self.resource_type
    }

    /// The resource's logical id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl fmt::Display for ResourceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.resource_type, self.id)
    }
}

impl fmt::Debug for ResourceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.resource_type.is_human() {
            write!(f, "{}/<redacted>", self.resource_type)
        } else {
            fmt::Display::fmt(self, f)
        }
    }
}

pub(crate) fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
        // Legal ids, but as a URL's path segment they would mean another resource.
        && text != "."
        && text != ".."
}

/// A FHIR `Reference`, read.
///
/// Spec: <http://hl7.org/fhir/R4/references.html>
#[derive(Clone, PartialEq, Eq)]
pub enum Ref {
    /// A resource on this FHIR server.
    Resource(ResourceRef),
    /// Anything else: a logical identifier, a contained resource (`#x`), another server's resource,
    /// a `urn:`, or only words.
    Other(OtherRef),
}

/// A reference that names no resource on this FHIR server. At least one field is set. `Debug` shows
/// only which.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct OtherRef {
    /// `Reference.reference` as it came: `#x`, `urn:uuid:…`, another server's URL.
    pub reference: Option<String>,
    /// `Reference.identifier`, the logical identifier.
    pub identifier: Option<Identifier>,
    /// `Reference.display`: what to show for it.
    pub display: Option<String>,
}

/// A business identifier. `Debug` shows its system alone.
///
/// Spec: <http://hl7.org/fhir/R4/datatypes.html#Identifier>
#[derive(Clone, PartialEq, Eq)]
pub struct Identifier {
    /// The namespace of the value, a URI.
    pub system: Option<String>,
    /// The value, unique in its system.
    pub value: String,
}

impl Ref {
    /// Reads a JSON `Reference`. `None` when it isn't an object or says nothing at all.
    #[must_use]
    pub fn from_json(json: &Value, base: &BaseUrl) -> Option<Self> {
        let text = |name: &str| {
            json.get(name)
                .and_then(Value::as_str)
                .filter(|s| !s.is_empty())
        };
        let reference = text("reference");
        if let Some(resource) = reference.and_then(|r| base.resolve(r)) {
            return Some(Self::Resource(resource));
        }
        let identifier = json.get("identifier").and_then(Identifier::from_json);
        let display = text("display");
        if reference.is_none() && identifier.is_none() && display.is_none() {
            return None;
        }
        Some(Self::Other(OtherRef {
            reference: reference.map(str::to_owned),
            identifier,
            display: display.map(str::to_owned),
        }))
    }

    /// The resource, when it is one on this server.
    #[must_use]
    pub fn resource(&self) -> Option<&ResourceRef> {
        match self {
            Self::Resource(resource) => Some(resource),
            Self::Other(_) => None,
        }
    }

    /// The resource, when it is one of this type on this server.
    #[must_use]
    pub fn resource_of(&self, resource_type: &ResourceType) -> Option<&ResourceRef> {
        self.resource()
            .filter(|r| r.resource_type() == resource_type)
    }

    pub(crate) fn to_json(&self) -> Value {
        match self {
            Self::Resource(resource) => {
                serde_json::json!({"reference": resource.to_string(), "type": resource.resource_type().as_str()})
            }
            Self::Other(other) => {
                let mut json = serde_json::Map::new();
                if let Some(reference) = &other.reference {
                    json.insert("reference".into(), reference.as_str().into());
                }
                if let Some(identifier) = &other.identifier {
                    json.insert("identifier".into(), identifier.to_json());
                }
                if let Some(display) = &other.display {
                    json.insert("display".into(), display.as_str().into());
                }
                json.into()
            }
        }
    }
}

impl From<ResourceRef> for Ref {
    fn from(resource: ResourceRef) -> Self {
        Self::Resource(resource)
    }
}

impl Identifier {
    pub(crate) fn from_json(json: &Value) -> Option<Self> {
        let value = json.get("value")?.as_str().filter(|v| !v.is_empty())?;
        Some(Self {
            system: json
                .get("system")
                .and_then(Value::as_str)
                .map(str::to_owned),
            value: value.to_owned(),
        })
    }

    pub(crate) fn to_json(&self) -> Value {
        match &self.system {
            Some(system) => serde_json::json!({"system": system, "value": self.value}),
            None => serde_json::json!({"value": self.value}),
        }
    }

    pub(crate) fn is(&self, system: &str, value: &str) -> bool {
        self.system.as_deref() == Some(system) && self.value == value
    }
}

impl fmt::Debug for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identifier")
            .field("system", &self.system)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Ref {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resource(resource) => fmt::Debug::fmt(resource, f),
            Self::Other(other) => fmt::Debug::fmt(other, f),
        }
    }
}

impl fmt::Debug for OtherRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OtherRef")
            .field("has_reference", &self.reference.is_some())
            .field("identifier", &self.identifier)
            .field("has_display", &self.display.is_some())
            .finish()
    }
}

/// The FHIR server's service base URL: http or https, no user, query or fragment.
///
/// Spec: <http://hl7.org/fhir/R4/http.html#root>
#[derive(Clone, PartialEq, Eq)]
pub struct BaseUrl {
    /// Without the slash at the end.
    text: String,
    url: Url,
}

/// Why a text is not a FHIR base URL. It doesn't repeat the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BaseUrlError {
    /// Not an absolute http or https URL.
    #[error(
        "the FHIR base URL must be an absolute http:// or https:// URL, like https://fhir.example.org/fhir"
    )]
    NotHttp,
    /// It holds a user name or password.
    #[error("the FHIR base URL must not hold a user name or password; give a token instead")]
    Credentials,
    /// It has a query or fragment.
    #[error("the FHIR base URL must end with its path: no query (?) and no fragment (#)")]
    Query,
}

impl BaseUrl {
    /// Reads a base URL; slashes at its end make no difference.
    ///
    /// # Errors
    ///
    /// When it isn't one, see [`BaseUrlError`].
    pub fn parse(text: &str) -> Result<Self, BaseUrlError> {
        let mut url = Url::parse(text.trim()).map_err(|_| BaseUrlError::NotHttp)?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(BaseUrlError::NotHttp);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(BaseUrlError::Credentials);
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(BaseUrlError::Query);
        }
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);
        let text = url.as_str().trim_end_matches('/').to_owned();
        Ok(Self { text, url })
    }

    /// The URL, without a slash at its end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Scheme, host and port: what errors and logs name.
    #[must_use]
    pub fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    /// The resource that a literal reference names, when it is on this server: relative (`Type/id`)
    /// or absolute below this base, with or without `/_history/version`.
    #[must_use]
    pub fn resolve(&self, reference: &str) -> Option<ResourceRef> {
        if let Some(resource) = ResourceRef::parse(reference) {
            return Some(resource);
        }
        let rest = reference
            .strip_prefix(self.text.as_str())?
            .strip_prefix('/')?;
        ResourceRef::parse(rest)
    }

    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    pub(crate) fn join(&self, path: &str) -> String {
        format!("{}/{path}", self.text)
    }
}

impl fmt::Debug for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
