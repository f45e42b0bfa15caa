//! Fetches a real Apache Kafka for the tests: a JVM from Debian, the jars from Maven Central.
//!
//! It only fetches. The tests start and stop their brokers themselves, from `target/kafka/lib`.
//! **Invariant:** the marker, a copy of the pom, is written last: a folder that has it is complete and is
//! what the pom asks for.

use std::fs;

use anyhow::{Context as _, Result};

use crate::setup::apt_install;
use crate::sh::{cmd, run_quietly, succeeds, target, write_file};

/// The broker that the tests run against. Java 17 is enough for it.
const KAFKA: &str = "4.3.0";
/// What Kafka's own archive has and its jars do not ask for: without it, no broker writes a log.
const LOG4J: &str = "2.25.4";
/// Pinned, so that maven does not look for a newer plugin on every run.
const DEPENDENCY_PLUGIN: &str = "3.8.1";

/// Sets up Java, maven and the jars of Kafka.
pub(crate) fn jars() -> Result<()> {
    let java = succeeds(cmd("java").arg("-version"));
    if java {
        println!("  java: found");
    } else {
        apt_install("java", &["default-jre-headless"])?;
    }
    let lib = target("kafka/lib");
    let marker = lib.join("complete");
    let pom = pom();
    if fs::read_to_string(&marker).is_ok_and(|of| of == pom) {
        println!("  Kafka: found ({KAFKA}, target/kafka/lib)");
        return Ok(());
    }
    if succeeds(cmd("mvn").arg("-v")) {
        println!("  maven: found");
    } else {
        apt_install("maven", &["maven"])?;
    }
    println!("  Kafka: fetching the jars of {KAFKA} into target/kafka/lib (maven)");
    if lib.exists() {
        fs::remove_dir_all(&lib).context("cannot empty target/kafka/lib")?;
    }
    write_file(&target("kafka/pom.xml"), pom.as_bytes())?;
    let mut copy = cmd("mvn");
    copy.args(["-q", "-B", "-f"])
        .arg(target("kafka/pom.xml"))
        .arg(format!(
            "org.apache.maven.plugins:maven-dependency-plugin:{DEPENDENCY_PLUGIN}:copy-dependencies"
        ))
        .arg(format!("-DoutputDirectory={}", lib.display()));
    // Maven gives up at the first lost connection; what it already has it keeps.
    run_quietly(&mut copy)
        .or_else(|_| run_quietly(&mut copy))
        .context("cannot fetch the jars of Kafka")?;
    write_file(&marker, pom.as_bytes())
}

fn pom() -> String {
    format!(
        r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>kafka-wasm-host</groupId>
  <artifactId>test-broker</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>{KAFKA}</version>
    </dependency>
    <dependency>
      <groupId>org.apache.logging.log4j</groupId>
      <artifactId>log4j-slf4j-impl</artifactId>
      <version>{LOG4J}</version>
    </dependency>
  </dependencies>
</project>
"#
    )
}
