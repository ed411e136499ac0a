//! `cargo xtask demo`: one scene, before the reader's eyes.

use std::{net::SocketAddr, path::Path, process::ExitCode};

use anyhow::{Context, Result};
use testbed::{Bridge, BridgeSetup, FhirServer, Testbed, scene};
use url::Url;

use crate::build;

/// The demo's addresses are the same each time, so that the README and `bridge.yaml` can name them.
const NET: &str = "127.0.0";
const LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1234);
const PREFIX: &str = "_fhir_bridge_";

pub(crate) async fn run(exit: bool, fhir_url: Option<Url>) -> Result<ExitCode> {
    let shown = tokio::select! {
        shown = show(fhir_url) => shown?,
        signal = tokio::signal::ctrl_c() => {
            signal?;
            // Dropping the testbed and the bridge stops what they have started.
            println!("\nstopped");
            return Ok(ExitCode::from(130));
        }
    };
    if !exit && shown.worked {
        println!("\nEverything stays up until Ctrl-C.");
        tokio::signal::ctrl_c().await?;
    }
    println!("\nstopping …");
    shown.bridge.stop().await;
    shown.testbed.stop().await;
    Ok(if shown.worked {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What is up after the scene.
struct Shown {
    testbed: Testbed,
    bridge: Bridge,
    /// Whether each step was seen to work.
    worked: bool,
}

async fn show(fhir_url: Option<Url>) -> Result<Shown> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("no workspace")?;
    let folder = testbed::root().join("demo");
    let builder = Testbed::builder()
        .net(NET)
        .data(&folder)
        .registrations("vvt", [workspace.join("registration/fhir-bridge.yaml")])
        .fhir(fhir_url.map_or(FhirServer::Hapi, FhirServer::Url))
        .progress(|progress| println!("{progress}"));
    builder.check().await?;
    println!(
        "Setting up three homeservers, a FHIR server and the bridge.
The first time takes minutes, later ones seconds.
"
    );
    let (testbed, program) = tokio::try_join!(builder.start(), build::bridge())?;
    let fhir = testbed.fhir_url().context("no FHIR server")?;
    let bridge = Bridge::start(
        &testbed,
        BridgeSetup {
            program,
            folder: folder.join("bridge"),
            registration: workspace.join("registration/fhir-bridge.yaml"),
            listen: LISTEN,
            prefix: PREFIX.to_owned(),
            homeserver: testbed.homeserver("vvt")?.client_url().clone(),
            fhir: fhir.clone(),
            config: None,
        },
    )
    .await?;
    println!("the bridge listens on {LISTEN}\n");

    let played = scene::play(&testbed, &fhir, PREFIX, scene::Names::Plain, &|line| {
        println!("{line}");
    })
    .await;
    let worked = match played {
        Ok(played) => {
            println!("\nThe conversation, as the FHIR server and all three homeservers have it:\n");
            for line in &played.transcript {
                println!("{line}");
            }
            look_around(&testbed, &bridge, &fhir, &played);
            true
        }
        Err(error) => {
            eprintln!("\nerror: the scene did not work: {error:#}");
            println!("logs: {}", testbed.logs().display());
            println!("      {}", bridge.log().display());
            false
        }
    };
    Ok(Shown {
        testbed,
        bridge,
        worked,
    })
}

fn look_around(testbed: &Testbed, bridge: &Bridge, fhir: &Url, played: &scene::Played) {
    println!("\nWhere to look:");
    println!("  the thread   {fhir}/{}", played.thread);
    println!(
        "  its messages {fhir}/Communication\n               ?part-of={}",
        played.thread
    );
    for homeserver in testbed.homeservers() {
        println!(
            "  {:<12} {}  for any Matrix client",
            homeserver.server_name(),
            homeserver.client_url()
        );
    }
    println!("  the room     {}", played.room);
    println!("  logs         {}", testbed.logs().display());
    println!("               {}", bridge.log().display());
}
