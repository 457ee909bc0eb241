//! A sandbox in this process, and a seller who talks to it.

use std::path::Path;

use reqwest::multipart::{Form, Part};
use reqwest::{Client, Response, StatusCode, redirect};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tradepost_runtime::tasks::Tasks;
use tradepost_sandbox::{Config, Sandbox};

/// A running sandbox.
pub(crate) struct Site {
    url: String,
    stop: oneshot::Sender<()>,
    served: JoinHandle<Result<(), tradepost_sandbox::Error>>,
}

/// A browser of sorts, logged in or not.
pub(crate) struct Browser {
    client: Client,
    url: String,
}

impl Site {
    pub(crate) async fn start(data: &Path) -> Self {
        let sandbox = Sandbox::bind(Config::new(data.to_owned(), 0, 4)).await.expect("binds");
        let url = sandbox.url();
        let (stop, stopped) = oneshot::channel();
        let served = Tasks::new().spawn("sandbox", sandbox.serve(async { drop(stopped.await) }));
        Self { url, stop, served }
    }

    /// Ends it and waits until its data folder is free.
    pub(crate) async fn stop(self) {
        self.stop.send(()).expect("still serving");
        self.served.await.expect("did not panic").expect("served to the end");
    }

    pub(crate) fn browser(&self) -> Browser {
        let client =
            Client::builder().cookie_store(true).redirect(redirect::Policy::none()).build().expect("client");
        Browser { client, url: self.url.clone() }
    }

    pub(crate) async fn seller(&self, number: u32) -> Browser {
        let browser = self.browser();
        let reply =
            browser.log_in(&format!("seller{number}@example.com"), &format!("correct horse {number}")).await;
        assert_eq!(reply.status(), StatusCode::SEE_OTHER);
        browser
    }

    pub(crate) async fn ledger(&self) -> Value {
        self.browser().get("__ledger__").await.json().await.expect("JSON")
    }

    pub(crate) async fn control(&self, instruction: Value) -> Value {
        let reply = self.browser().post("__control__", &instruction).await;
        assert_eq!(reply.status(), StatusCode::OK, "{instruction}");
        reply.json().await.expect("JSON")
    }

    /// The fault for the next request of seller 1.
    pub(crate) async fn next(&self, faults: Value) {
        self.control(json!({ "account": "seller1@example.com", "next": faults })).await;
    }
}

impl Browser {
    pub(crate) async fn log_in(&self, email: &str, password: &str) -> Response {
        let form = [("email", email), ("pass", password), ("next", "/marketplace/you/selling")];
        self.client.post(format!("{}login", self.url)).form(&form).send().await.expect("a reply")
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.client.get(format!("{}{path}", self.url)).send().await.expect("a reply")
    }

    pub(crate) async fn get_as(&self, host: &str, path: &str) -> StatusCode {
        let request = self.client.get(format!("{}{path}", self.url)).header("host", host);
        request.send().await.expect("a reply").status()
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Response {
        self.try_post(path, body).await.expect("a reply")
    }

    pub(crate) async fn try_post(&self, path: &str, body: &Value) -> reqwest::Result<Response> {
        self.client.post(format!("{}{path}", self.url)).json(body).send().await
    }

    /// Uploads bytes as a photo.
    pub(crate) async fn upload(&self, name: &str, content: Vec<u8>) -> Response {
        let form = Form::new().part("photo", Part::bytes(content).file_name(name.to_owned()));
        self.client.post(format!("{}api/photos", self.url)).multipart(form).send().await.expect("a reply")
    }

    /// Uploads a picture that no other `number` has; gives what the publish request needs to name it.
    pub(crate) async fn picture(&self, number: u32) -> Value {
        let reply = self.upload(&format!("picture-{number}.png"), png(number)).await;
        assert_eq!(reply.status(), StatusCode::OK);
        let photo: Value = reply.json().await.expect("JSON");
        json!({ "sha256": photo["sha256"], "name": photo["name"] })
    }

    /// A complete form, as the composer sends it for one click on Publish.
    pub(crate) async fn form(&self, click: &str) -> Value {
        json!({ "click": click, "fields": fields(), "photos": [self.picture(1).await, self.picture(2).await] })
    }

    /// The titles on Your listings.
    pub(crate) async fn own_titles(&self) -> Vec<String> {
        let list: Value = self.get("api/selling").await.json().await.expect("JSON");
        let items = list["items"].as_array().expect("items");
        items.iter().map(|item| item["title"].as_str().expect("a title").to_owned()).collect()
    }
}

/// A PNG whose width is its number.
pub(crate) fn png(number: u32) -> Vec<u8> {
    let mut content = std::io::Cursor::new(Vec::new());
    image::RgbImage::new(number, 3).write_to(&mut content, image::ImageFormat::Png).expect("encodes");
    content.into_inner()
}

pub(crate) fn fields() -> Value {
    json!({
        "title": "Kettle", "price": "12.50", "category": "Household", "condition": "Used – good",
        "description": "Boils.\nWhistles 🫖.", "availability": "List as single item", "tags": ["kettle"], "sku": "K-1",
        "location": "London, United Kingdom", "meetup": ["Public meet-up"], "groups": ["Vintage finds"],
        "promote": false, "hide_from_friends": false, "attributes": {"Colour": "Red"},
    })
}
