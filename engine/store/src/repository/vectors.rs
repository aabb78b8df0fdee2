//! Both repositories of the document are opened by this code, and what this code writes are the document's bytes.

use data_encoding::BASE64;
use zeroize::Zeroizing;

use super::envelope::{Envelope, State};
use super::header::Header;
use super::testing::faulty;
use super::*;
use crate::blocks::BlockDigests;
use crate::keys::KeySource;
use crate::vectors::{block, objects};

const KEY: &str = "rsk1_wMHCw8TFxsfIycrLzM3Oz9DR0tPU1dbX2Nna29zd3t8";
const RECOVERY: &str = "rsk1_4OHi4-Tl5ufo6err7O3u7_Dx8vP09fb3-Pn6-_z9_v8";
const ID: &str = "20260131T023000Z-k7q2mzx4ab";

fn sources(name: &str) -> Vec<Option<KeySource>> {
    let text = |text: &str| Zeroizing::new(text.to_owned());
    match name {
        "plain" => vec![None],
        _ => vec![
            Some(KeySource::Key(text(KEY))),
            Some(KeySource::Key(text(RECOVERY))),
            Some(KeySource::Passphrase(text("correct horse"))),
        ],
    }
}

async fn opened(name: &str, source: Option<&KeySource>) -> Repository {
    let (_, location) = faulty();
    for (path, bytes) in objects(name) {
        let path = location.path(&path).unwrap();
        object_store::ObjectStoreExt::put(&location.store, &path, bytes.into()).await.unwrap();
    }
    Repository::open(location, source).await.unwrap()
}

#[tokio::test]
async fn the_repositories_of_the_document_are_read() {
    for name in ["plain", "encrypted"] {
        for source in sources(name) {
            let repository = opened(name, source.as_ref()).await;
            assert!(repository.warnings().is_empty(), "{:?}", repository.warnings());
            let id = repository.resolve("latest").await.unwrap();
            assert_eq!(id.as_str(), ID);
            let manifest = repository.manifest(&id).await.unwrap();
            let dataset = manifest.dataset("Städte").unwrap();
            assert_eq!((dataset.rows, dataset.path_part.as_str()), (1, repository.path_part("Städte").as_str()));
            let path = repository.path(&dataset.files[0].path).unwrap();
            let read = object_store::ObjectStoreExt::get(&repository.objects(), &path).await.unwrap();
            assert_eq!(read.bytes().await.unwrap(), "hello, restow");
            assert_eq!(repository.artifact(&dataset.artifacts[0]).await.unwrap(), "{}");
            assert_eq!(repository.snapshots().await.unwrap().len(), 1, "the aborted one is no snapshot");
        }
    }
}

#[tokio::test]
async fn what_is_written_are_the_bytes_of_the_document() {
    for name in ["plain", "encrypted"] {
        let source = sources(name).remove(0);
        let repository = opened(name, source.as_ref()).await;
        let read = |path: &str| block(&format!("{name}:{path}"));
        let header = Header::decode("memory:", &read("repository.json")).unwrap();
        assert_eq!(header.encode().unwrap(), read("repository.json"));

        let path = format!("snapshots/{ID}/manifest.json");
        let envelope = Envelope::decode(&ID.parse().unwrap(), &read(&path)).unwrap();
        let manifest = envelope.open(repository.keys(), &path).unwrap();
        let inventory = manifest.inventory.clone().unwrap();
        let stored = clear::encode(&Inventory::of(&manifest)).unwrap();
        assert_eq!(stored, read(&format!("snapshots/{ID}/{}", inventory.name)));
        match repository.keys() {
            None => assert_eq!(Envelope::commit(&manifest, None, &path).unwrap(), read(&path)),
            // Another salt each time: the plain bytes are compared, and everything around them.
            Some(keys) => {
                let body = |bytes: &[u8]| {
                    let mut whole: serde_json::Value = clear::decode(bytes).unwrap();
                    let sealed = BASE64.decode(whole["body"].take().as_str().unwrap().as_bytes()).unwrap();
                    whole["sha256"].take();
                    (whole, keys.open_bytes(&path, &sealed).unwrap())
                };
                assert_eq!(body(&Envelope::commit(&manifest, Some(keys), &path).unwrap()), body(&read(&path)));
            }
        }
    }
    let aborted = "20260131T023100Z-aaaaaaaaaa";
    let bytes = block(&format!("plain:snapshots/{aborted}/manifest.json"));
    let envelope = Envelope::decode(&aborted.parse().unwrap(), &bytes).unwrap();
    assert_eq!(envelope.state, State::Aborted);
    assert_eq!(Envelope::abort(&envelope.snapshot, &envelope.nonce).unwrap(), bytes);
    let digests = objects("plain").into_iter().find(|(path, _)| path.ends_with(".sha256")).unwrap().1;
    assert_eq!(BlockDigests::decode("x", &digests.clone().into()).unwrap().encode(), digests);
}
