//! `tradepost listings` and `tradepost photos`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::{connect, find, tell_rest};
use crate::args::Global;
use crate::args::listings::{CreateListing, EditListing, ListingsCommand, PhotosCommand};
use crate::client::Client;
use crate::config::plain as plain_error;
use crate::error::{Error, Result};
use crate::listing_file::photos::PhotoFile;
use crate::listing_file::{self, Wanted, photos as photo_files};
use crate::model::{Listing, Photo};
use crate::output::{Output, Table, faint, plain, text};

pub(super) async fn run(command: ListingsCommand, global: &Global, output: &Output) -> Result<()> {
    match command {
        ListingsCommand::Create(arguments) => create(arguments, global, output).await,
        ListingsCommand::List(limit) => {
            let listed = connect(global).await?.list_listings(limit.count()).await?;
            output.many(&listed.items, |listing| &listing.id, || output.table(&table(&listed.items)))?;
            tell_rest(output, &listed, "listings");
            Ok(())
        }
        ListingsCommand::Show { listing } => {
            let client = connect(global).await?;
            let listing = find::listing(&client, &listing).await?;
            show(&client, output, &listing).await
        }
        ListingsCommand::Edit(arguments) => edit(arguments, global, output).await,
        ListingsCommand::Delete { listings } => {
            let client = connect(global).await?;
            let mut found = Vec::new();
            for given in &listings {
                found.push(find::listing(&client, given).await?);
            }
            for listing in found {
                client.delete_listing(listing.id.clone()).await?;
                output.message(&format!("Deleted {:?} ({}).", listing.content.title, listing.id));
            }
            Ok(())
        }
    }
}

async fn create(arguments: CreateListing, global: &Global, output: &Output) -> Result<()> {
    let CreateListing { file, fields } = arguments;
    let wanted = match &file {
        Some(path) => listing_file::from_file(path, &fields.photos)?,
        None => vec![listing_file::from_options(&fields)?],
    };
    let client = connect(global).await?;
    let files: Vec<PhotoFile> = wanted.iter().flat_map(|wanted| wanted.photos.clone()).collect();
    let uploaded = upload(&client, output, &files).await?;
    let mut created = Vec::new();
    let mut failure = None;
    for Wanted { mut content, photos, place } in wanted {
        content.photo_ids = photos
            .iter()
            .filter_map(|photo| uploaded.get(&photo.path))
            .map(|photo| photo.id.clone())
            .collect();
        match client.create_listing(&content).await {
            Ok(listing) => created.push(listing),
            Err(error) => {
                failure = Some(refused(error, &place, created.len()));
                break;
            }
        }
    }
    match created.as_slice() {
        [] => {}
        [only] if file.is_none() => show(&client, output, only).await?,
        several => output.many(several, |listing| &listing.id, || output.table(&table(several)))?,
    }
    if let Some(error) = failure {
        return Err(error);
    }
    if let [only] = created.as_slice() {
        output.hint(&format!(
            "post it: tradepost postings create --listing {} --account NAME --watch",
            only.id
        ));
    }
    Ok(())
}

/// Says which listing of a file the controller refused, and what is there already.
fn refused(mut error: Error, place: &str, created: usize) -> Error {
    if !place.is_empty() {
        error.message = format!("{place}: {}", error.message);
    }
    if created > 0 {
        let were = if created == 1 { "listing was" } else { "listings were" };
        error = error.hint(format!("{created} {were} created before it: leave them out when you try again"));
    }
    error
}

async fn edit(arguments: EditListing, global: &Global, output: &Output) -> Result<()> {
    let EditListing { listing, fields } = arguments;
    let client = connect(global).await?;
    let mut listing = find::listing(&client, &listing).await?;
    let Wanted { mut content, photos, .. } = listing_file::edited(&listing.content, &fields)?;
    content.photo_ids = if photos.is_empty() {
        listing.content.photo_ids.clone()
    } else {
        let uploaded = upload(&client, output, &photos).await?;
        photos.iter().filter_map(|photo| uploaded.get(&photo.path)).map(|photo| photo.id.clone()).collect()
    };
    listing.content = content;
    let updated = client.update_listing(&listing).await?;
    show(&client, output, &updated).await
}

pub(super) async fn photos(command: PhotosCommand, global: &Global, output: &Output) -> Result<()> {
    match command {
        PhotosCommand::Upload { paths } => upload_photos(&paths, global, output).await,
        PhotosCommand::Show { photo } => {
            let photo = connect(global).await?.get_photo(photo).await?;
            output.one(&photo, &photo.id, || {
                text::record(
                    output,
                    &[
                        ("id", photo.id.clone()),
                        ("file", photo.file_name.clone()),
                        ("kind", photo.media_type.clone()),
                        ("size", text::size(photo.size_bytes)),
                        ("pixels", format!("{}×{}", photo.width_pixels, photo.height_pixels)),
                        ("sha256", photo.sha256.clone()),
                        ("uploaded", text::absolute(photo.created_at)),
                    ],
                )
            })
        }
    }
}

async fn upload_photos(paths: &[PathBuf], global: &Global, output: &Output) -> Result<()> {
    let mut problems = Vec::new();
    let files: Vec<PhotoFile> =
        paths.iter().flat_map(|path| photo_files::find(path, |problem| problems.push(problem))).collect();
    if !problems.is_empty() {
        let noun = if problems.len() == 1 { "problem" } else { "problems" };
        return Err(
            Error::usage(format!("{} {noun}; nothing was uploaded", problems.len())).details(problems)
        );
    }
    let client = connect(global).await?;
    let uploaded = upload(&client, output, &files).await?;
    let photos: Vec<_> = files.iter().filter_map(|file| uploaded.get(&file.path)).collect();
    output.many(
        &photos,
        |photo| &photo.id,
        || {
            let mut table = Table::new(&["ID", "FILE", "SIZE", "PIXELS"]);
            for photo in &photos {
                let pixels = format!("{}×{}", photo.width_pixels, photo.height_pixels);
                table.row([
                    plain(&photo.id),
                    plain(&photo.file_name),
                    plain(text::size(photo.size_bytes)),
                    faint(pixels),
                ]);
            }
            output.table(&table)
        },
    )
}

/// Uploads each file once; the bar moves with the bytes.
async fn upload(client: &Client, output: &Output, files: &[PhotoFile]) -> Result<HashMap<PathBuf, Photo>> {
    let mut uploaded: HashMap<PathBuf, Photo> = HashMap::new();
    let total = files.iter().map(|file| file.bytes).sum();
    let bar = output.byte_progress(total, "Uploading photos");
    for file in files {
        if uploaded.contains_key(&file.path) {
            bar.inc(file.bytes);
            continue;
        }
        let content = read(&file.path).await?;
        let moved = bar.clone();
        let photo = client.upload_photo(file.name(), content, move |bytes| moved.inc(bytes)).await.map_err(
            |mut error| {
                bar.finish_and_clear();
                error.message = format!("{}: {}", file.path.display(), error.message);
                error
            },
        )?;
        uploaded.insert(file.path.clone(), photo);
    }
    bar.finish_and_clear();
    if !uploaded.is_empty() {
        let noun = if uploaded.len() == 1 { "photo" } else { "photos" };
        let size = text::size(i64::try_from(total).unwrap_or(0));
        output.message(&format!("Uploaded {} {noun} ({size}).", uploaded.len()));
    }
    Ok(uploaded)
}

async fn read(path: &Path) -> Result<Vec<u8>> {
    tokio::fs::read(path)
        .await
        .map_err(|error| Error::usage(format!("cannot read {}: {}", path.display(), plain_error(&error))))
}

fn table(listings: &[Listing]) -> Table {
    let mut table = Table::new(&["ID", "TITLE", "PRICE", "CATEGORY", "PHOTOS", "CREATED"]);
    for Listing { id, content, created_at, .. } in listings {
        table.row([
            plain(id),
            plain(text::short(&content.title, 48)),
            plain(content.price.map(|price| price.to_string()).unwrap_or_default()),
            faint(text::short(&content.category, 32)),
            plain(content.photo_ids.len().to_string()),
            plain(text::relative(*created_at)),
        ]);
    }
    table
}

async fn show(client: &Client, output: &Output, listing: &Listing) -> Result<()> {
    let Listing { id, content, created_at, updated_at, .. } = listing;
    let mut photos = Vec::new();
    if output.format == crate::args::Format::Table && !output.quiet {
        for id in &content.photo_ids {
            let photo = client.get_photo(id.clone()).await?;
            photos.push(format!(
                "{} ({}×{}, {})",
                photo.file_name,
                photo.width_pixels,
                photo.height_pixels,
                text::size(photo.size_bytes)
            ));
        }
    }
    output.one(listing, id, || {
        let attributes: Vec<_> =
            content.attributes.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        text::record(
            output,
            &[
                ("id", id.clone()),
                ("title", content.title.clone()),
                ("price", content.price.map(|price| price.to_string()).unwrap_or_default()),
                ("category", content.category.clone()),
                ("condition", text::words(content.condition.name())),
                ("location", content.location.clone()),
                ("sku", content.sku.clone()),
                ("attributes", attributes.join("\n")),
                ("description", content.description.clone()),
                ("photos", photos.join("\n")),
                ("created", text::absolute(*created_at)),
                (
                    "changed",
                    if updated_at == created_at { String::new() } else { text::absolute(*updated_at) },
                ),
            ],
        )
    })
}
