//! One process runs a testbed, others use it.

use std::net::TcpListener;

use testbed::{Testbed, root, unique};

#[tokio::test]
async fn an_announced_testbed_is_used_by_others_but_not_stopped_by_them() -> anyhow::Result<()> {
    // `cargo xtask test` has announced one already; then that is the one to use.
    let own = match Testbed::builder().announced().start().await {
        Ok(testbed) => Some(testbed),
        Err(error) if error.to_string().contains("shared already") => None,
        Err(error) => return Err(error),
    };

    let shared = Testbed::shared().await?;
    if let Some(own) = &own {
        assert_eq!(shared.net(), own.net());
        assert_eq!(shared.folder(), own.folder());
    }
    assert!(shared.proxy().is_err());
    assert!(shared.homeserver("vvt")?.stop().await.is_err());

    let name = unique("arts");
    let user = shared.homeserver("vvt")?.register_user(&name).await?;
    let again = shared.homeserver("vvt")?.register_user(&name).await?;
    assert_eq!(user.user_id, format!("@{name}:vvt"));
    assert_eq!(user.password, again.password);
    assert_ne!(user.access_token, again.access_token);
    assert!(!format!("{user:?}").contains(&user.access_token));

    let service = shared.appservice("sdk6").await?;
    TcpListener::bind(service.listen_addr)?;
    let registration = std::fs::read_to_string(&service.registration_path)?;
    assert!(registration.contains(&service.listen_addr.to_string()));
    drop(service);

    if let Some(own) = own {
        own.stop().await;
        assert!(!root().join("shared.json").exists());
    }
    Ok(())
}
