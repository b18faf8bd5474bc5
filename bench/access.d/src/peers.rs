//! The same questions about one tenant's people, asked of Cedar and of casbin: a person is in a role, roles are in each other, and a policy
//! says what a role may. All three must answer the same. Each is asked with what it needs made beforehand where its interface allows it.

use std::hint::black_box;

use casbin::{CoreApi, DefaultModel, Enforcer, MemoryAdapter, MgmtApi, RbacApi};
use cedar_policy::{Authorizer, Context, Entities, EntityUid, PolicySet, Request};
use serde_json::json;

use crate::decisions::{Question, check};
use crate::fixture::{ACTIONS, EACH, Fixture, TYPES, principal, role_of, tenant_id};
use crate::measure::{Figures, Random, batches, calls_us};

/// Person, type and action by their numbers.
type Asked = (usize, usize, usize);

const MODEL: &str = "
[request_definition]
r = sub, obj, act
[policy_definition]
p = sub, obj, act
[role_definition]
g = _, _
[policy_effect]
e = some(where (p.eft == allow))
[matchers]
m = g(r.sub, p.sub) && (p.obj == \"any\" || r.obj == p.obj) && (p.act == \"any\" || r.act == p.act)
";

pub fn measure(fixture: &Fixture, count: usize, figures: &mut Figures) {
    let mut random = Random(0x2545_F491_4F6C_DD1D);
    // Not those with a grant on a thing: the others have no word for it.
    let people: Vec<usize> = (0..EACH).filter(|number| number % 10 != 0).collect();
    let asked: Vec<Asked> = (0..count)
        .map(|_| (people[random.below(people.len())], random.below(TYPES), random.below(ACTIONS.len())))
        .collect();
    let questions: Vec<Question> = asked
        .iter()
        .map(|(person, kind, action)| {
            let name = format!("type{kind:02}:{}", ACTIONS[*action]);
            let permission = fixture.permissions.id(&name).expect("declared");
            Question { tenant: tenant_id(0), who: principal(0, *person), permission }
        })
        .collect();
    let own: Vec<bool> = questions.iter().map(|asked| check(&fixture.directory, asked).is_ok()).collect();
    let own_ns = batches(&questions, |asked| {
        let _ = black_box(check(&fixture.directory, asked));
    });
    figures.put("same_questions_p50_ns", own_ns);
    let (cedar, cedar_us) = cedar(&asked);
    assert_eq!(cedar, own, "Cedar answers the same");
    let (casbin, casbin_us) = casbin(&asked);
    assert_eq!(casbin, own, "casbin answers the same");
    figures.put("cedar_p50_us", cedar_us);
    figures.put("casbin_p50_us", casbin_us);
    figures.put("vs_cedar", cedar_us * 1e3 / own_ns);
    figures.put("vs_casbin", casbin_us * 1e3 / own_ns);
    // Against a check that no cache foresees, which is ours at its slowest and theirs is not.
    figures.put("cold_vs_casbin", casbin_us * 1e3 / figures.of("check_p50_ns"));
}

fn cedar(asked: &[Asked]) -> (Vec<bool>, f64) {
    let mut text =
        String::from("permit(principal in Role::\"viewer\", action == Action::\"read\", resource);\n");
    for kind in 0..TYPES / 2 {
        text += &format!(
            "permit(principal in Role::\"editor\", action == Action::\"update\", resource is Type{kind:02});\n"
        );
    }
    text += "permit(principal in Role::\"admin\", action, resource);\n";
    let policies: PolicySet = text.parse().expect("policies");
    let in_role = |kind: &str, id: String, parents: Vec<&str>| {
        let parents: Vec<_> = parents.into_iter().map(|role| json!({ "type": "Role", "id": role })).collect();
        json!({ "uid": { "type": kind, "id": id }, "attrs": {}, "parents": parents })
    };
    let roles = [("viewer", vec![]), ("editor", vec!["viewer"]), ("admin", vec!["editor"])];
    let mut all: Vec<_> = roles.into_iter().map(|(role, up)| in_role("Role", role.into(), up)).collect();
    all.extend((0..EACH).map(|number| in_role("User", number.to_string(), vec![role_of(number)])));
    let entities = Entities::from_json_value(all.into(), None).expect("entities");
    let uid = |text: String| text.parse::<EntityUid>().expect("a name");
    let users: Vec<EntityUid> = (0..EACH).map(|number| uid(format!("User::\"{number}\""))).collect();
    let things: Vec<EntityUid> = (0..TYPES).map(|kind| uid(format!("Type{kind:02}::\"1\""))).collect();
    let actions = ACTIONS.map(|action| uid(format!("Action::\"{action}\"")));
    let authorizer = Authorizer::new();
    let mut answers = Vec::with_capacity(asked.len());
    let (p50, _) = calls_us(asked.len(), |at| {
        let (person, kind, action) = asked[at];
        let (who, how, what) = (users[person].clone(), actions[action].clone(), things[kind].clone());
        let request = Request::new(who, how, what, Context::empty(), None).expect("a request");
        let answer = authorizer.is_authorized(&request, &policies, &entities);
        answers.push(answer.decision() == cedar_policy::Decision::Allow);
    });
    (answers, p50)
}

fn casbin(asked: &[Asked]) -> (Vec<bool>, f64) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let enforcer = runtime.block_on(async {
        let model = DefaultModel::from_str(MODEL).await.expect("a model");
        let mut enforcer = Enforcer::new(model, MemoryAdapter::default()).await.expect("an enforcer");
        let words = |all: [&str; 3]| all.map(str::to_owned).to_vec();
        let mut policies = vec![words(["viewer", "any", "read"]), words(["admin", "any", "any"])];
        policies.extend((0..TYPES / 2).map(|kind| words(["editor", &format!("type{kind:02}"), "update"])));
        enforcer.add_policies(policies).await.expect("they are new");
        for (role, inherited) in [("editor", "viewer"), ("admin", "editor")] {
            enforcer.add_role_for_user(role, inherited, None).await.expect("it is new");
        }
        for number in 0..EACH {
            enforcer
                .add_role_for_user(&format!("user{number}"), role_of(number), None)
                .await
                .expect("it is new");
        }
        enforcer
    });
    let users: Vec<String> = (0..EACH).map(|number| format!("user{number}")).collect();
    let types: Vec<String> = (0..TYPES).map(|kind| format!("type{kind:02}")).collect();
    let mut answers = Vec::with_capacity(asked.len());
    let (p50, _) = calls_us(asked.len(), |at| {
        let (person, kind, action) = asked[at];
        let answer = enforcer.enforce((users[person].as_str(), types[kind].as_str(), ACTIONS[action]));
        answers.push(answer.expect("the model is sound"));
    });
    (answers, p50)
}
