//! The beginning: workspaces, agents, accounts, listings; and the machines and controllers to work with them.

use std::collections::BTreeMap;
use std::sync::Arc;

use tradepost_domain::account::{Account, Site, WhenAbsent};
use tradepost_domain::id::{
    AccountId, AgentId, ContentHash, EnrolmentTokenId, ListingId, PhotoId, TokenId, UserId, Version,
    WorkspaceId,
};
use tradepost_domain::listing::{Condition, Content, Listing};
use tradepost_domain::money::Money;
use tradepost_domain::photo::{MediaType, Photo};
use tradepost_store::model::Model;
use tradepost_store::{
    Accounts, Agents, Auth, Error, Listings, NewAgent, NewEnrolmentToken, NewToken, NewUser, Photos,
    Principal, Redeemed, Role,
};
use uuid::Uuid;

use crate::agent::Machine;
use crate::controller::Controller;
use crate::world::{START, World};

/// Who there is.
#[derive(Debug, Default, Clone)]
pub struct Fleet {
    /// A person of each workspace.
    pub people: Vec<Principal>,
    /// Agents by workspace.
    pub agents: Vec<(WorkspaceId, AgentId)>,
    /// Accounts.
    pub accounts: Vec<Account>,
    /// Listings.
    pub listings: Vec<(WorkspaceId, ListingId)>,
}

/// Listings of each workspace.
const LISTINGS: usize = 6;
/// What the photo of every listing holds; nobody looks at it.
const PHOTO: &[u8] = b"a chair";

/// Puts everything into the database, machines and controllers into the world.
pub async fn found(world: &mut World) -> Result<Fleet, Error> {
    let mut ids = Numbers(0);
    let mut fleet = Fleet::default();
    let store = world.store.clone();
    for number in 0..world.plan.workspaces {
        fleet.people.push(person(&store, &mut ids, number).await?);
    }
    for index in 0..world.plan.agents {
        let owner = fleet.people[index % fleet.people.len()].clone();
        let agent = enrol(&store, &mut ids, &owner, index).await?;
        fleet.agents.push((owner.workspace, agent));
        for number in 0..world.plan.accounts {
            let account = account(&mut ids, &owner, agent, &format!("shop {index} {number}"))?;
            fleet.accounts.push(store.add_account(account).await?);
        }
        let clock = world.wall_clock(0);
        world.machines.push(Arc::new(Machine::new(index, agent, 1 + index % 3, clock)));
    }
    for owner in &fleet.people {
        let photo = store.add_photo(photo(&mut ids, owner.workspace), PHOTO.to_vec()).await?;
        for number in 0..LISTINGS {
            let mut listing = listing(&mut ids, owner.workspace, number)?;
            listing.content.photos = vec![photo.id];
            fleet.listings.push((owner.workspace, listing.id));
            store.add_listing(listing).await?;
        }
    }
    world.controllers = (0..world.plan.controllers).map(Controller::new).collect();
    Ok(fleet)
}

struct Numbers(u128);

impl Numbers {
    fn next(&mut self) -> Uuid {
        self.0 += 1;
        Uuid::from_u128((0xf1ee_7000 << 96) + self.0)
    }

    fn hash(&mut self) -> [u8; 32] {
        let mut hash = [3; 32];
        hash[..16].copy_from_slice(self.next().as_bytes());
        hash
    }
}

async fn person(store: &Model, ids: &mut Numbers, number: usize) -> Result<Principal, Error> {
    let user = NewUser {
        id: UserId(ids.next()),
        email: format!("seller{number}@example.com"),
        role: Role::Owner,
        workspace: WorkspaceId(ids.next()),
        workspace_name: format!("workspace {number}"),
    };
    let token = NewToken { id: TokenId(ids.next()), name: String::new(), hash: ids.hash(), expires_at: None };
    Ok(store.add_user_token(user, token, START).await?.0)
}

async fn enrol(store: &Model, ids: &mut Numbers, owner: &Principal, index: usize) -> Result<AgentId, Error> {
    let hash = ids.hash();
    let token = NewEnrolmentToken {
        id: EnrolmentTokenId(ids.next()),
        workspace: owner.workspace,
        created_by: owner.user,
        hash,
        expires_at: START + std::time::Duration::from_secs(600),
    };
    store.add_enrolment_token(token, START).await?;
    let new = NewAgent {
        id: AgentId(ids.next()),
        name: format!("pc {index}"),
        key_hash: format!("key {index}"),
        platform: String::from("simulated"),
        program_version: String::from("0"),
    };
    match store.redeem_enrolment_token(hash, new, START).await? {
        Redeemed::Agent(agent) => Ok(agent.id),
        other => Err(Error::Internal(format!("{other:?}").into())),
    }
}

fn account(ids: &mut Numbers, owner: &Principal, agent: AgentId, name: &str) -> Result<Account, Error> {
    Ok(Account {
        id: AccountId(ids.next()),
        workspace: owner.workspace,
        name: name.to_owned(),
        site: Site::parse("sandbox").map_err(wrong)?,
        site_url: "https://market.example.com/".parse().map_err(wrong)?,
        sign_in_name: None,
        currency: "EUR".parse().map_err(wrong)?,
        agent: Some(agent),
        when_absent: WhenAbsent::Ask,
        created_at: START,
        version: Version(1),
    })
}

fn listing(ids: &mut Numbers, workspace: WorkspaceId, number: usize) -> Result<Listing, Error> {
    let content = Content {
        title: format!("Oak chair number {number}"),
        description: String::from("Four legs."),
        price: Money::parse(&format!("{}.50", 10 + number), "EUR".parse().map_err(wrong)?).map_err(wrong)?,
        category: String::from("Home and garden > Furniture"),
        condition: Condition::Good,
        location: String::from("Berlin"),
        sku: String::new(),
        attributes: BTreeMap::new(),
        photos: Vec::new(),
    };
    let id = ListingId(ids.next());
    Ok(Listing { id, workspace, content, created_at: START, updated_at: START, version: Version(1) })
}

fn photo(ids: &mut Numbers, workspace: WorkspaceId) -> Photo {
    Photo {
        id: PhotoId(ids.next()),
        workspace,
        file_name: String::from("chair.jpg"),
        content: ContentHash::of(PHOTO),
        media_type: MediaType::Jpeg,
        bytes: PHOTO.len() as u64,
        width: 64,
        height: 64,
        created_at: START,
    }
}

fn wrong(error: impl std::fmt::Display) -> Error {
    Error::Internal(error.to_string().into())
}
