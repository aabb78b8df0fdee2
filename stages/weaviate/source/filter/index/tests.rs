use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, ListBuilder, RecordBatch, StringArray, StringBuilder,
    TimestampMicrosecondArray, TimestampMillisecondArray,
};
use chrono::{DateTime, Utc};
use datafusion::common::DFSchema;
use datafusion::functions_nested::expr_fn::array_has;
use datafusion::logical_expr::{col, lit};
use datafusion::prelude::SessionContext;
use proptest::prelude::*;

use super::super::super::super::class;
use super::super::super::super::columns::columns_of;
use super::*;

const CLASS: &str = r#"{"class":"C","invertedIndexConfig":{"indexTimestamps":true},"properties":[
    {"name":"name","dataType":["text"],"tokenization":"field"},
    {"name":"words","dataType":["text"],"tokenization":"word"},
    {"name":"folded","dataType":["text"],"tokenization":"field","textAnalyzer":{"asciiFold":true}},
    {"name":"whole","dataType":["int"]},
    {"name":"hidden","dataType":["int"],"indexFilterable":false},
    {"name":"ranged","dataType":["int"],"indexFilterable":false,"indexRangeFilters":true},
    {"name":"ratio","dataType":["number"]},
    {"name":"flag","dataType":["boolean"]},
    {"name":"day","dataType":["date"]},
    {"name":"key","dataType":["uuid"]},
    {"name":"place","dataType":["geoCoordinates"]},
    {"name":"tags","dataType":["text[]"],"tokenization":"field"}]}"#;

fn index(class: &str) -> Index {
    let text = RawValue::from_string(class.to_owned()).unwrap();
    let parsed = class::Class::parse(text.clone()).unwrap();
    Index::of(&text, &columns_of(&parsed, &[]))
}

fn searched(expr: &Expr) -> Option<String> {
    search(&index(CLASS), std::slice::from_ref(expr)).map(|filter| words(&filter))
}

fn day(text: &str) -> Expr {
    lit(ScalarValue::TimestampMicrosecond(Some(moment_of(text).timestamp_micros()), Some("UTC".into())))
}

fn moment_of(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn time(millis: i64) -> Expr {
    lit(ScalarValue::TimestampMillisecond(Some(millis), Some("UTC".into())))
}

#[test]
fn each_type() {
    let cases = [
        (col("name").eq(lit("zoë")), "name = \"zoë\""),
        (col("name").in_list(vec![lit("a"), lit("b")], false), "(name = \"a\" OR name = \"b\")"),
        (col("whole").eq(lit(5_i64)), "whole = 5"),
        (lit(5_i64).gt(col("whole")), "whole <= 5"),
        (Expr::Not(Box::new(col("whole").gt(lit(5_i64)))), "whole <= 5"),
        (col("whole").gt(lit(5_i64)), "(whole >= 5 OR whole <= -9223372036854775808)"),
        (col("ranged").lt(lit(5_i64)), "ranged <= 5"),
        (col("ratio").lt(lit(0.0)), "ratio <= 0.0"),
        (col("ratio").gt(lit(0.0)), "ratio >= -0.0"),
        (col("ratio").eq(lit(-0.0)), "(ratio >= -0.0 AND ratio <= 0.0)"),
        (col("ratio").eq(lit(0.5)), "ratio = 0.5"),
        (col("flag"), "flag = true"),
        (Expr::Not(Box::new(col("flag"))), "flag = false"),
        (col("key").eq(lit("0A000000-0000-4000-8000-000000000001")), "key = \"0a000000-0000-4000-8000-000000000001\""),
        (array_has(col("tags"), lit("red")), "tags = \"red\""),
        (col("_update_time").gt(time(1_700_000_000_123)), "_lastUpdateTimeUnix >= \"2023-11-14T22:13:20.123000000Z\""),
        (
            col("day").gt(day("2025-01-01T00:00:00Z")).and(col("day").lt(day("2026-01-01T00:00:00Z"))),
            "(day >= \"2024-12-31T23:59:59.999999000Z\" AND day <= \"2026-01-01T00:00:00.000002000Z\")",
        ),
        (col("whole").eq(lit(5_i64)).and(col("words").eq(lit("x"))), "whole = 5"),
        (col("whole").eq(lit(5_i64)).or(col("flag")), "(whole = 5 OR flag = true)"),
    ];
    for (expr, expected) in cases {
        assert_eq!(searched(&expr).as_deref(), Some(expected), "{expr}");
        assert!(takes(&index(CLASS), &expr), "{expr}");
    }
}

#[test]
fn what_stays_here() {
    let exact = 1_i64 << 53;
    let cases = [
        col("name").not_eq(lit("a")),
        col("name").lt(lit("a")),
        col("name").eq(lit(" \u{a0}")),
        col("name").eq(lit("")),
        col("name").eq(lit("x".repeat(2000))),
        col("name").eq(lit(ScalarValue::Utf8(None))),
        col("name").in_list(vec![lit("a"), lit("")], false),
        col("name").in_list(vec![lit("a")], true),
        col("name").is_null(),
        col("name").like(lit("a%")),
        col("words").eq(lit("a")),
        col("folded").eq(lit("a")),
        col("hidden").eq(lit(5_i64)),
        col("ranged").eq(lit(5_i64)),
        col("whole").eq(lit(exact + 1)),
        col("whole").lt(lit(i64::MIN)),
        col("whole").lt(lit(1.5)),
        col("whole").not_eq(lit(5_i64)),
        col("ratio").lt(lit(f64::NAN)),
        col("ratio").gt(lit(f64::NEG_INFINITY)),
        col("flag").is_null(),
        Expr::Not(Box::new(col("name").eq(lit("a")))),
        Expr::Not(Box::new(array_has(col("tags"), lit("red")))),
        col("key").eq(lit("nonsense")),
        col("day").eq(day("2300-01-01T00:00:00Z")),
        col("whole").eq(lit(5_i64)).or(col("words").eq(lit("x"))),
        col("place").eq(lit("x")),
        col("id").eq(lit("x")),
    ];
    for expr in cases {
        assert_eq!(searched(&expr), None, "{expr}");
        assert!(!takes(&index(CLASS), &expr), "{expr}");
    }
    // One end alone says nothing: later dates stand anywhere, and earlier times too. With its other end it will.
    let late = col("day").gt(day("2025-01-01T00:00:00Z"));
    for end in [&late, &col("_update_time").lt(time(1_700_000_000_000)), &col("_update_time").gt(time(1_000))] {
        assert_eq!(searched(end), None, "{end}");
        assert!(takes(&index(CLASS), end), "{end}");
    }
    let two = [late, col("day").lt_eq(day("2025-06-01T00:00:00Z"))];
    assert!(search(&index(CLASS), &two).is_some());
    let many = (0..300).map(|number| lit(i64::from(number))).collect();
    assert_eq!(searched(&col("whole").in_list(many, false)), None);
}

#[test]
fn without_its_index_a_class_is_not_searched() {
    let none = index(&CLASS.replace("\"indexTimestamps\":true", "\"indexTimestamps\":false"));
    assert!(search(&none, &[col("_update_time").gt(time(1_700_000_000_123))]).is_none());
    assert!(search(&Index::default(), &[col("whole").eq(lit(5_i64))]).is_none());
    let text = RawValue::from_string("[]".to_owned()).unwrap();
    assert!(Index::of(&text, &[]).columns.is_empty());
}

// ---- against DataFusion: the index as the server keeps it, and random predicates

/// An object. What it stores is what the server keeps: floats, and texts of dates.
#[derive(Debug, Clone)]
struct Object {
    name: Option<&'static str>,
    whole: Option<f64>,
    ratio: Option<f64>,
    flag: Option<bool>,
    day: Option<&'static str>,
    tags: Option<Vec<&'static str>>,
    updated: i64,
}

const TEXTS: [&str; 6] = ["a", " a", "A", "zoë", "", "\u{2003}"];
const DAYS: [&str; 8] = [
    "2025-01-01T00:00:00Z",
    "2025-01-01T00:00:00.000000999Z",
    "2024-12-31T23:59:59.999999999Z",
    "9999-12-31T23:59:59Z",
    "0001-01-01T00:00:00Z",
    "2262-04-12T00:00:00Z",
    "1960-06-01T00:00:00.000000001Z",
    "1677-01-01T00:00:00Z",
];
const INTS: [f64; 8] =
    [0.0, -0.0, 5.0, -5.0, 9_007_199_254_740_992.0, 9_223_372_036_854_774_784.0, -9_223_372_036_854_774_784.0, 6.0];
const FLOATS: [f64; 6] = [0.0, -0.0, 0.5, -1.25, f64::MAX, f64::MIN_POSITIVE];
const TIMES: [i64; 4] = [1_700_000_000_000, 1_700_000_000_001, 999_999_999_999, 1_999_999_999_999];

impl Object {
    /// Whether the index finds it: keys of bytes, and an order of bytes.
    fn is_found(&self, filter: &Filters) -> bool {
        match filter.operator {
            operator::AND => return filter.filters.iter().all(|part| self.is_found(part)),
            operator::OR => return filter.filters.iter().any(|part| self.is_found(part)),
            _ => {}
        }
        let sortable = |value: i64| (value.cast_unsigned() ^ (1 << 63)).to_be_bytes().to_vec();
        let float = |value: f64| {
            let bits = value.to_bits();
            (if bits >> 63 == 1 { !bits } else { bits ^ (1 << 63) }).to_be_bytes().to_vec()
        };
        let trimmed = |text: &str| text.trim().as_bytes().to_vec();
        // Nanoseconds as Go computes them: beyond 64 bits they begin anew.
        let nanos = |text: &str| {
            let moment = moment_of(text);
            let whole = i128::from(moment.timestamp()) * 1_000_000_000 + i128::from(moment.timestamp_subsec_nanos());
            sortable(whole as i64)
        };
        let of_text = || filter.value_text.as_deref().unwrap();
        let name = filter.target.as_ref().and_then(|target| target.property.as_deref()).unwrap();
        let (keys, wanted): (Vec<Vec<u8>>, Vec<u8>) = match name {
            "name" => (self.name.iter().map(|text| trimmed(text)).collect(), trimmed(of_text())),
            "tags" => (self.tags.iter().flatten().map(|text| trimmed(text)).collect(), trimmed(of_text())),
            "whole" => {
                (self.whole.iter().map(|value| sortable(*value as i64)).collect(), sortable(filter.value_int.unwrap()))
            }
            "ratio" => (self.ratio.iter().map(|value| float(*value)).collect(), float(filter.value_number.unwrap())),
            "flag" => (
                self.flag.iter().map(|value| vec![u8::from(*value)]).collect(),
                vec![u8::from(filter.value_boolean.unwrap())],
            ),
            "day" => (self.day.iter().map(|text| nanos(text)).collect(), nanos(of_text())),
            "_lastUpdateTimeUnix" => {
                let wanted = moment_of(of_text()).timestamp_millis().to_string().into_bytes();
                (vec![self.updated.to_string().into_bytes()], wanted)
            }
            other => panic!("{other}"),
        };
        keys.iter().any(|key| match filter.operator {
            operator::EQUAL => *key == wanted,
            operator::GREATER_THAN_EQUAL => *key >= wanted,
            operator::LESS_THAN_EQUAL => *key <= wanted,
            other => panic!("{other}"),
        })
    }
}

fn objects() -> impl Strategy<Value = Vec<Object>> {
    let maybe = |strategy: BoxedStrategy<f64>| prop::option::weighted(0.8, strategy);
    let text = || prop::sample::select(TEXTS.as_slice());
    let object = (
        prop::option::weighted(0.8, text()),
        maybe(prop::sample::select(INTS.as_slice()).boxed()),
        maybe(prop::sample::select(FLOATS.as_slice()).boxed()),
        prop::option::weighted(0.8, any::<bool>()),
        prop::option::weighted(0.8, prop::sample::select(DAYS.as_slice())),
        prop::option::weighted(0.8, prop::collection::vec(text(), 0..3)),
        prop::sample::select(TIMES.as_slice()),
    );
    let object = object.prop_map(|(name, whole, ratio, flag, day, tags, updated)| Object {
        name,
        whole,
        ratio,
        flag,
        day,
        tags,
        updated,
    });
    prop::collection::vec(object, 20)
}

fn batch(objects: &[Object]) -> RecordBatch {
    let mut tags = ListBuilder::new(StringBuilder::new());
    for object in objects {
        for tag in object.tags.iter().flatten() {
            tags.values().append_value(tag);
        }
        tags.append(object.tags.is_some());
    }
    let micros = objects.iter().map(|object| object.day.map(|text| moment_of(text).timestamp_micros()));
    let updated = TimestampMillisecondArray::from_iter_values(objects.iter().map(|object| object.updated));
    let columns: [(&str, ArrayRef); 7] = [
        ("name", Arc::new(StringArray::from_iter(objects.iter().map(|object| object.name)))),
        ("whole", Arc::new(Int64Array::from_iter(objects.iter().map(|object| object.whole.map(|value| value as i64))))),
        ("ratio", Arc::new(Float64Array::from_iter(objects.iter().map(|object| object.ratio)))),
        ("flag", Arc::new(BooleanArray::from_iter(objects.iter().map(|object| object.flag)))),
        ("day", Arc::new(TimestampMicrosecondArray::from_iter(micros).with_timezone("UTC"))),
        ("tags", Arc::new(tags.finish())),
        ("_update_time", Arc::new(updated.with_timezone("UTC"))),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
}

fn comparison_of(column: Expr, op: usize, value: Expr) -> Expr {
    match op {
        0 => column.eq(value),
        1 => column.not_eq(value),
        2 => column.lt(value),
        3 => column.lt_eq(value),
        4 => value.lt(column),
        _ => column.gt_eq(value),
    }
}

fn predicate() -> impl Strategy<Value = Expr> {
    let text = || prop::sample::select(TEXTS.as_slice()).prop_map(lit);
    let int = || prop::sample::select(INTS.as_slice()).prop_map(|value| lit(value as i64));
    let float = || prop::sample::select(FLOATS.as_slice()).prop_map(lit);
    let day = || prop::sample::select(DAYS.as_slice()).prop_map(day);
    let time = || prop::sample::select(TIMES.as_slice()).prop_map(time);
    let leaf = prop_oneof![
        (text(), 0..6_usize).prop_map(|(value, op)| comparison_of(col("name"), op, value)),
        (int(), 0..6_usize).prop_map(|(value, op)| comparison_of(col("whole"), op, value)),
        (float(), 0..6_usize).prop_map(|(value, op)| comparison_of(col("ratio"), op, value)),
        (day(), 0..6_usize).prop_map(|(value, op)| comparison_of(col("day"), op, value)),
        (time(), 0..6_usize).prop_map(|(value, op)| comparison_of(col("_update_time"), op, value)),
        (day(), day(), any::<bool>()).prop_map(|(low, high, not)| if not {
            col("day").not_between(low, high)
        } else {
            col("day").between(low, high)
        }),
        (day(), day()).prop_map(|(low, high)| col("day").gt_eq(low).and(col("day").lt(high))),
        (prop::collection::vec(int(), 1..4), any::<bool>()).prop_map(|(values, not)| col("whole").in_list(values, not)),
        text().prop_map(|value| array_has(col("tags"), value)),
        Just(col("flag")),
        Just(col("flag").is_false()),
        Just(col("name").is_null()),
    ];
    leaf.prop_recursive(3, 12, 2, |inner| {
        prop_oneof![
            2 => (inner.clone(), inner.clone()).prop_map(|(one, two)| one.and(two)),
            2 => (inner.clone(), inner.clone()).prop_map(|(one, two)| one.or(two)),
            1 => inner.prop_map(|inner| Expr::Not(Box::new(inner))),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    /// Whatever a predicate holds for, the search finds.
    #[test]
    fn what_holds_is_found(objects in objects(), filters in prop::collection::vec(predicate(), 1..3)) {
        let Some(filter) = search(&index(CLASS), &filters) else { return Ok(()) };
        prop_assert!(filters.iter().any(|filter| takes(&index(CLASS), filter)), "{filters:?}");
        let rows = batch(&objects);
        let schema = DFSchema::try_from(rows.schema()).unwrap();
        let all = filters.iter().cloned().reduce(Expr::and).unwrap();
        let physical = SessionContext::new().create_physical_expr(all.clone(), &schema).unwrap();
        let holds = physical.evaluate(&rows).unwrap().into_array(rows.num_rows()).unwrap();
        for (object, holds) in objects.iter().zip(holds.as_boolean()) {
            prop_assert!(holds != Some(true) || object.is_found(&filter), "{all} holds for {object:?}, and {} does not find it", words(&filter));
        }
    }
}
