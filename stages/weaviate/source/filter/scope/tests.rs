use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, StringArray};
use datafusion::common::DFSchema;
use datafusion::logical_expr::{col, lit};
use datafusion::prelude::SessionContext;
use proptest::prelude::*;

use super::*;

const NAMES: Names<'_> = Names { id: "id", tenant: Some("_tenant") };
const LOW: &str = "0a000000-0000-4000-8000-000000000001";
const HIGH: &str = "fa000000-0000-4000-8000-00000000000f";

fn sql(text: &str) -> Expr {
    let session = SessionContext::new();
    let schema = DFSchema::try_from(rows().schema()).unwrap();
    session.parse_sql_expr(text, &schema).unwrap()
}

/// The ids that a predicate leaves of those of tenant `b`.
fn left(text: &str) -> Ids {
    ids_of(&[sql(text)], NAMES, Some("b"))
}

fn id(text: &str) -> u128 {
    Uuid::try_parse(text).unwrap().as_u128()
}

#[test]
fn ids_and_lists() {
    assert_eq!(left(&format!("id = '{LOW}'")), Ids::of([id(LOW)]));
    assert_eq!(left(&format!("'{LOW}' = id")), Ids::of([id(LOW)]));
    assert_eq!(left(&format!("id IN ('{LOW}', '{HIGH}', 'nonsense')")), Ids::of([id(LOW), id(HIGH)]));
    assert_eq!(left(&format!("id <> '{LOW}'")), Ids::of([id(LOW)]).but());
    assert_eq!(left(&format!("id NOT IN ('{LOW}')")), Ids::of([id(LOW)]).but());
    assert_eq!(left(&format!("id NOT IN ('{LOW}', NULL)")), Ids::none());
    assert_eq!(left(&format!("id IN ('{LOW}', NULL)")), Ids::of([id(LOW)]));
    assert_eq!(left(&format!("id = '{LOW}' AND id = '{HIGH}'")), Ids::none());
    assert_eq!(left(&format!("id = '{LOW}' OR id = '{HIGH}'")), Ids::of([id(LOW), id(HIGH)]));
}

/// Ids are texts: another form of the same id is another text.
#[test]
fn other_forms_are_no_ids() {
    for other in [HIGH.to_uppercase(), HIGH.replace('-', ""), format!("{{{HIGH}}}"), format!(" {HIGH}"), String::new()]
    {
        assert_eq!(left(&format!("id = '{other}'")), Ids::none(), "{other}");
        assert!(left(&format!("id <> '{other}'")).is_all(), "{other}");
    }
    // Capital letters stand before small ones, behind digits.
    assert_eq!(left("id < 'A'"), Ids::range(0, (10 << 124) - 1));
    assert_eq!(left("id < 'a'"), Ids::range(0, (10 << 124) - 1));
    assert_eq!(left("id >= 'F'"), Ids::range(10 << 124, u128::MAX));
}

#[test]
fn ranges() {
    let (low, high) = (id(LOW), id(HIGH));
    assert_eq!(left(&format!("id < '{LOW}'")), Ids::range(0, low - 1));
    assert_eq!(left(&format!("id <= '{LOW}'")), Ids::range(0, low));
    assert_eq!(left(&format!("id > '{LOW}'")), Ids::range(low + 1, u128::MAX));
    assert_eq!(left(&format!("'{LOW}' <= id")), Ids::range(low, u128::MAX));
    assert_eq!(left(&format!("id BETWEEN '{LOW}' AND '{HIGH}'")), Ids::range(low, high));
    assert_eq!(left(&format!("id NOT BETWEEN '{LOW}' AND '{HIGH}'")), Ids::range(low, high).but());
    assert_eq!(left("id < '5'"), Ids::range(0, (5 << 124) - 1));
    // Shorter and longer than an id, signs between the digits, beyond every id.
    assert_eq!(left("id > '00000000-0000-0000-0000-00000000000'"), Ids::all());
    assert_eq!(left("id > '00000000-0000-0000-0000-0000000000000'"), Ids::range(1, u128::MAX));
    assert_eq!(left("id < '00000000-'"), Ids::none());
    assert_eq!(left("id < '000000000'"), Ids::range(0, (1 << 96) - 1));
    assert_eq!(left("id < 'z'"), Ids::all());
    assert_eq!(left("id >= '日本'"), Ids::none());
    assert_eq!(left("id < ''"), Ids::none());
    assert_eq!(left("id >= ''"), Ids::all());
    assert_eq!(left("id > 'ffffffff-ffff-ffff-ffff-ffffffffffff'"), Ids::none());
    assert_eq!(left("id >= 'ffffffff-ffff-ffff-ffff-ffffffffffff'"), Ids::of([u128::MAX]));
    assert_eq!(left("id <= '00000000-0000-0000-0000-000000000000'"), Ids::of([0]));
}

#[test]
fn beginnings() {
    assert_eq!(left("id LIKE 'ab%'"), Ids::range(0xab << 120, (0xac << 120) - 1));
    assert_eq!(left("id LIKE 'ab%cd_'"), Ids::range(0xab << 120, (0xac << 120) - 1));
    assert_eq!(left("id LIKE 'ff%'"), Ids::range(0xff << 120, u128::MAX));
    assert_eq!(left("id LIKE '%'"), Ids::all());
    assert_eq!(left("id LIKE 'AB%'"), Ids::none());
    assert_eq!(left("id LIKE 'zz%'"), Ids::none());
    assert_eq!(left(&format!("id LIKE '{LOW}'")), Ids::of([id(LOW)]));
    assert_eq!(left(&format!("id LIKE '{LOW}0%'")), Ids::none());
    for all in ["id ILIKE 'AB%'", "id NOT LIKE 'ab%'", "id LIKE 'ab%' ESCAPE '!'"] {
        assert_eq!(left(all), Ids::all(), "{all}");
    }
}

#[test]
fn tenants() {
    for text in [
        "_tenant = 'b'",
        "_tenant IN ('a', 'b')",
        "_tenant > 'a'",
        "_tenant <= 'b'",
        "_tenant <> 'a'",
        "_tenant BETWEEN 'a' AND 'c'",
    ] {
        assert_eq!(left(text), Ids::all(), "{text}");
        assert_eq!(left(&format!("NOT ({text})")), Ids::none(), "{text}");
    }
    for text in ["_tenant = 'B'", "_tenant NOT IN ('b', 'a')", "_tenant IS NULL", "_tenant = NULL", "_tenant < ''"] {
        assert_eq!(left(text), Ids::none(), "{text}");
    }
    assert_eq!(left(&format!("_tenant = 'a' OR id = '{LOW}'")), Ids::of([id(LOW)]));
    assert_eq!(left(&format!("_tenant = 'a' AND id = '{LOW}'")), Ids::none());
    // A collection without tenants has no such column; a property of another collection may be called so.
    assert_eq!(ids_of(&[sql("_tenant = 'b'")], Names { id: "id", tenant: None }, None), Ids::all());
}

#[test]
fn of_other_columns_nothing_is_known() {
    for text in [
        "number = 1",
        "number IS NULL",
        "id = other",
        "upper(id) = 'A'",
        "length(id) = 1",
        "id IS DISTINCT FROM NULL",
        "id ~ 'a'",
    ] {
        assert_eq!(left(text), Ids::all(), "{text}");
        assert_eq!(left(&format!("NOT ({text})")), Ids::all(), "{text}");
    }
    assert_eq!(left(&format!("number = 1 AND id = '{LOW}'")), Ids::of([id(LOW)]));
    assert_eq!(left(&format!("number = 1 OR id = '{LOW}'")), Ids::all());
    assert_eq!(left(&format!("NOT (number = 1 OR id <> '{LOW}')")), Ids::of([id(LOW)]));
    assert_eq!(left("false"), Ids::none());
    assert_eq!(left("id = NULL"), Ids::none());
    assert_eq!(left("NOT (id = NULL)"), Ids::none());
}

const TENANTS: [&str; 3] = ["a", "b", "B"];
const TEXTS: [&str; 12] = [
    LOW,
    HIGH,
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
    "00000000-0000-0000-0000-000000000000",
    "0a000000-0000-4000-8000-000000000002",
    "FA000000-0000-4000-8000-00000000000F",
    "0a",
    "b",
    "",
    "日本",
    "fa000000-0000-4000-8000-00000000000",
    "zz",
];

/// Every id of the texts, and its neighbours, in every tenant.
fn rows() -> RecordBatch {
    let near = |id: u128| [id.saturating_sub(1), id, id.saturating_add(1)];
    let mut ids: Vec<u128> =
        TEXTS.iter().filter_map(|text| Uuid::try_parse(text).ok()).flat_map(|id| near(id.as_u128())).collect();
    ids.extend([0x0b << 120, 0xb0 << 120, 0xb1 << 120]);
    let rows: Vec<(String, &str)> =
        TENANTS.iter().flat_map(|tenant| ids.iter().map(|id| (form(*id), *tenant))).collect();
    let column = |texts: Vec<&str>| Arc::new(StringArray::from(texts)) as ArrayRef;
    let ids = column(rows.iter().map(|(id, _)| id.as_str()).collect());
    let numbers = Int64Array::from_iter((0..rows.len()).map(|row| [None, Some(0), Some(1)][row % 3]));
    RecordBatch::try_from_iter_with_nullable([
        ("id", Arc::clone(&ids), true),
        ("_tenant", column(rows.iter().map(|(_, tenant)| *tenant).collect()), true),
        ("number", Arc::new(numbers) as ArrayRef, true),
        ("other", ids, true),
    ])
    .unwrap()
}

fn predicate() -> impl Strategy<Value = Expr> {
    let text = || prop_oneof![9 => prop::sample::select(TEXTS.as_slice()).prop_map(lit), 1 => Just(lit(ScalarValue::Utf8(None)))];
    let column = || prop_oneof![3 => Just(col("id")), 1 => Just(col("_tenant"))];
    let compared = (column(), text(), 0..6).prop_map(|(column, text, op)| match op {
        0 => column.eq(text),
        1 => column.not_eq(text),
        2 => column.lt(text),
        3 => text.lt_eq(column),
        4 => column.gt(text),
        _ => column.gt_eq(text),
    });
    let leaf = prop_oneof![
        6 => compared,
        2 => (column(), prop::collection::vec(text(), 1..4), any::<bool>()).prop_map(|(column, texts, not)| column.in_list(texts, not)),
        1 => (column(), text(), text(), any::<bool>()).prop_map(|(column, low, high, not)| if not { column.not_between(low, high) } else { column.between(low, high) }),
        1 => (prop::sample::select(TEXTS.as_slice()), 0..4_usize, any::<bool>()).prop_map(|(text, length, not)| {
            let pattern = lit(format!("{}%", text.chars().take(length).collect::<String>()));
            if not { col("id").not_like(pattern) } else { col("id").like(pattern) }
        }),
        2 => Just(col("number").eq(lit(1_i64))),
        1 => column().prop_map(Expr::is_null),
        1 => Just(col("number").is_null()),
    ];
    leaf.prop_recursive(4, 16, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(one, two)| one.and(two)),
            (inner.clone(), inner.clone()).prop_map(|(one, two)| one.or(two)),
            inner.clone().prop_map(|inner| Expr::Not(Box::new(inner))),
            inner.prop_map(Expr::is_true),
        ]
    })
}

fn evaluated(expr: &Expr, rows: &RecordBatch) -> BooleanArray {
    let schema = DFSchema::try_from(rows.schema()).unwrap();
    let physical = SessionContext::new().create_physical_expr(expr.clone(), &schema).unwrap();
    physical.evaluate(rows).unwrap().into_array(rows.num_rows()).unwrap().as_boolean().clone()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    /// No row for which a predicate is true is outside of what it leaves; and a predicate of ids and tenants alone leaves no other.
    #[test]
    fn what_holds_is_left(expr in predicate()) {
        let rows = rows();
        let (ids, tenants) = (rows.column(0).as_string::<i32>(), rows.column(1).as_string::<i32>());
        let holds = evaluated(&expr, &rows);
        let text = expr.to_string();
        let exact = !text.contains("number") && !text.contains("LIKE") && !text.contains("IS TRUE");
        for (row, holds) in holds.iter().enumerate() {
            let is_left = ids_of(std::slice::from_ref(&expr), NAMES, Some(tenants.value(row))).has(id(ids.value(row)));
            prop_assert!(is_left || holds != Some(true), "{expr}: {} of {}", ids.value(row), tenants.value(row));
            prop_assert!(!exact || is_left == (holds == Some(true)), "{expr}: {} of {} is left", ids.value(row), tenants.value(row));
        }
    }
}
