// SPDX-License-Identifier: Apache-2.0
//! Watches and lists of metadata only, which for most kinds is a small part of the object. A layer on the
//! client of one watch: kube's own watcher of metadata parses into its own type, past the guard against
//! malformed objects.

use http::{HeaderValue, Request, header::ACCEPT};
use kube::{Client, client::Body};
use tower::service_fn;

const OBJECT: HeaderValue =
    HeaderValue::from_static("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1");
const LIST: HeaderValue =
    HeaderValue::from_static("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1");

/// A client whose lists and watches ask for metadata only.
pub(super) fn asking(client: Client) -> Client {
    let namespace = client.default_namespace().to_owned();
    let service = service_fn(move |mut request: Request<Body>| {
        let client = client.clone();
        async move {
            let watches = request.uri().query().is_some_and(|it| it.split('&').any(|it| it == "watch=true"));
            request.headers_mut().insert(ACCEPT, if watches { OBJECT } else { LIST });
            client.send(request).await
        }
    });
    Client::new(service, namespace)
}
