//! Files.

use serde_json::json;

use super::{
    call::{Call, Reply},
    world::World,
};

/// The largest file that is taken.
pub(super) const MAX_UPLOAD_BYTES: usize = 1024 * 1024;

/// A file that was uploaded.
#[derive(Debug, Clone)]
pub(super) struct File {
    pub(super) content_type: String,
    pub(super) bytes: Vec<u8>,
}

/// `GET /_matrix/client/v1/media/config`
pub(super) fn config() -> Reply {
    Reply::ok(json!({"m.upload.size": MAX_UPLOAD_BYTES}))
}

/// `POST /_matrix/media/v3/upload`
pub(super) fn upload(world: &mut World, call: &Call) -> Reply {
    if call.bytes.len() > MAX_UPLOAD_BYTES {
        return Reply::error(413, "M_TOO_LARGE");
    }
    let id = format!("file{}", world.files.len());
    world.files.insert(id.clone(), Some(file(call)));
    Reply::ok(json!({"content_uri": format!("mxc://{}/{id}", world.server_name)}))
}

/// `POST /_matrix/media/v1/create`
pub(super) fn create(world: &mut World) -> Reply {
    let id = format!("file{}", world.files.len());
    world.files.insert(id.clone(), None);
    Reply::ok(json!({"content_uri": format!("mxc://{}/{id}", world.server_name)}))
}

/// `PUT /_matrix/media/v3/upload/{serverName}/{mediaId}`
pub(super) fn upload_to(world: &mut World, call: &Call, id: &str) -> Reply {
    match world.files.get_mut(id) {
        None => Reply::error(404, "M_NOT_FOUND"),
        Some(Some(_)) => Reply::error(409, "M_CANNOT_OVERWRITE_MEDIA"),
        Some(reserved) => {
            *reserved = Some(file(call));
            Reply::ok(json!({}))
        }
    }
}

/// `GET /_matrix/client/v1/media/download/{serverName}/{mediaId}`
pub(super) fn download(world: &World, id: &str) -> Reply {
    match world.files.get(id) {
        None => Reply::error(404, "M_NOT_FOUND"),
        Some(None) => Reply::error(504, "M_NOT_YET_UPLOADED"),
        Some(Some(file)) => Reply::file(&file.content_type, file.bytes.clone()),
    }
}

fn file(call: &Call) -> File {
    File {
        content_type: call.content_type.clone().unwrap_or_default(),
        bytes: call.bytes.clone(),
    }
}
