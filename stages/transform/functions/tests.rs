//! The vector functions against a plain reference.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, Float16Array, Float32Array, Int64Array, ListArray, RecordBatch,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Float16Type, Float32Type, Float64Type, Int64Type, Schema};
use datafusion::prelude::SessionContext;
use proptest::prelude::*;
use restow_core::record::{list_item, vector_type};

use super::super::tests::context;
use super::check_storable;

fn list(numbers: &[f32], dimension: i32, valid: Option<Vec<bool>>) -> ArrayRef {
    let values = Arc::new(Float32Array::from(numbers.to_vec()));
    let rows = valid.as_ref().map_or(if dimension == 0 { 1 } else { numbers.len() / dimension as usize }, Vec::len);
    let item = list_item(DataType::Float32).into();
    Arc::new(
        FixedSizeListArray::try_new_with_length(item, dimension, values, valid.map(NullBuffer::from), rows).unwrap(),
    )
}

fn table(columns: Vec<(&str, ArrayRef)>) -> SessionContext {
    let session = context().session;
    session
        .register_batch(
            "t",
            RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true))).unwrap(),
        )
        .unwrap();
    session
}

async fn column(session: &SessionContext, expr: &str) -> ArrayRef {
    let batches = session.sql(&format!("SELECT {expr} AS x FROM t")).await.unwrap().collect().await.unwrap();
    let arrays: Vec<&dyn Array> = batches.iter().map(|batch| batch.column(0).as_ref()).collect();
    arrow::compute::concat(&arrays).unwrap()
}

async fn floats(session: &SessionContext, expr: &str) -> Vec<Option<f32>> {
    column(session, expr).await.as_primitive::<Float32Type>().iter().collect()
}

async fn failure(session: &SessionContext, expr: &str) -> String {
    let sql = format!("SELECT {expr} AS x FROM t");
    match session.sql(&sql).await {
        Err(error) => error.strip_backtrace(),
        Ok(frame) => frame.collect().await.err().map(|error| error.strip_backtrace()).unwrap_or_default(),
    }
}

fn any_float() -> impl Strategy<Value = f32> {
    prop_oneof![
        8 => -10.0_f32..10.0,
        1 => any::<u32>().prop_map(f32::from_bits),
        1 => prop_oneof![Just(f32::NAN), Just(-0.0), Just(0.0), Just(f32::from_bits(1)), Just(f32::MAX), Just(f32::INFINITY)],
    ]
}

/// Equal bit for bit, but for the payload of a NaN, which arithmetic does not promise.
fn same(a: f32, b: f32) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn vector_functions_equal_their_definition(
        dimension in 1_usize..20,
        seed in proptest::collection::vec(any_float(), 240),
        cut in 1_usize..20,
    ) {
        let rows = 6;
        let (a, b): (Vec<f32>, Vec<f32>) = (seed[..rows * dimension].to_vec(), seed[120..120 + rows * dimension].to_vec());
        let width = i32::try_from(dimension).unwrap();
        let session = table(vec![("a", list(&a, width, None)), ("b", list(&b, width, None))]);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let run = |expr: &str| runtime.block_on(floats(&session, expr));
        let sum = |f: &dyn Fn(f64, f64) -> f64, row: usize| -> f64 {
            let range = row * dimension..(row + 1) * dimension;
            a[range.clone()].iter().zip(&b[range]).fold(0.0, |sum, (a, b)| sum + f(f64::from(*a), f64::from(*b)))
        };
        let (norms, l2, inner, cosine) =
            (run("l2_norm(a)"), run("l2_distance(a, b)"), run("inner_product(a, b)"), run("cosine_distance(a, b)"));
        let unit = runtime.block_on(column(&session, "normalize(a)"));
        prop_assert_eq!(unit.data_type(), &vector_type(width));
        let unit = unit.as_fixed_size_list().values().as_primitive::<Float32Type>().values().to_vec();
        for row in 0..rows {
            let (aa, bb, ab) = (sum(&|a, _| a * a, row), sum(&|_, b| b * b, row), sum(&|a, b| a * b, row));
            prop_assert!(same(norms[row].unwrap(), aa.sqrt() as f32));
            prop_assert!(same(l2[row].unwrap(), sum(&|a, b| (a - b) * (a - b), row).sqrt() as f32));
            prop_assert!(same(inner[row].unwrap(), ab as f32));
            match cosine[row] {
                None => prop_assert!(aa == 0.0 || bb == 0.0),
                Some(distance) => prop_assert!(same(distance, (1.0 - ab / (aa.sqrt() * bb.sqrt())).clamp(0.0, 2.0) as f32)),
            }
            for index in row * dimension..(row + 1) * dimension {
                let norm = aa.sqrt();
                let wanted = match norm {
                    0.0 => a[index],
                    norm if norm.is_finite() => (f64::from(a[index]) / norm) as f32,
                    _ => f32::NAN,
                };
                prop_assert!(same(unit[index], wanted), "{} {}", unit[index], wanted);
            }
        }
        let cut = cut.min(dimension);
        let short = runtime.block_on(column(&session, &format!("truncate(a, {cut})")));
        prop_assert_eq!(short.data_type(), &vector_type(i32::try_from(cut).unwrap()));
        let short = short.as_fixed_size_list().values().as_primitive::<Float32Type>().values().to_vec();
        for (row, vector) in short.chunks(cut).enumerate() {
            let bits = |numbers: &[f32]| numbers.iter().map(|number| number.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(bits(vector), bits(&a[row * dimension..row * dimension + cut]), "payloads of NaN survive");
        }
    }
}

#[tokio::test]
async fn null_in_null_out() {
    let holes = Float32Array::from(vec![Some(3.0), Some(4.0), Some(1.0), None, Some(0.0), Some(0.0)]);
    let item: Arc<Field> = list_item(DataType::Float32).into();
    let array =
        FixedSizeListArray::try_new(item, 2, Arc::new(holes), Some(NullBuffer::from(vec![true, true, false]))).unwrap();
    let session = table(vec![("v", Arc::new(array))]);
    assert_eq!(floats(&session, "l2_norm(v)").await, [Some(5.0), None, None]);
    assert_eq!(floats(&session, "cosine_distance(v, [4.0, -3.0])").await, [Some(1.0), None, None]);
    assert_eq!(floats(&session, "l2_distance(v, null)").await, [None, None, None]);
    let unit = column(&session, "normalize(v)").await;
    assert_eq!((unit.is_valid(0), unit.is_valid(1), unit.is_valid(2)), (true, false, false));
    let short = column(&session, "truncate(v, 1)").await;
    assert_eq!((short.is_valid(1), short.is_valid(2)), (true, false), "truncate looks at no element");
    let lengths: Vec<_> = column(&session, "dimension(v)").await.as_primitive::<Int64Type>().iter().collect();
    assert_eq!(lengths, [Some(2), Some(2), None]);
}

#[tokio::test]
async fn sliced_and_filtered_batches_keep_their_rows_apart() {
    let whole = list(&[1.0, 0.0, 0.0, 2.0, 3.0, 4.0, 6.0, 8.0], 2, None);
    let session = table(vec![("v", whole.slice(2, 2)), ("n", Arc::new(Int64Array::from(vec![1, 2])))]);
    assert_eq!(floats(&session, "l2_norm(v)").await, [Some(5.0), Some(10.0)]);
    let lists = ListArray::from_iter_primitive::<Float32Type, _, _>([
        Some(vec![Some(9.0)]),
        Some(vec![Some(3.0), Some(4.0)]),
        Some(vec![]),
        Some(vec![Some(0.0), Some(5.0), Some(12.0)]),
    ]);
    let session = table(vec![("v", Arc::new(lists.slice(1, 3)))]);
    assert_eq!(floats(&session, "l2_norm(v)").await, [Some(5.0), Some(0.0), Some(13.0)]);
    assert_eq!(floats(&session, "l2_norm(normalize(v))").await, [Some(1.0), Some(0.0), Some(1.0)]);
    let lengths: Vec<_> = column(&session, "dimension(v)").await.as_primitive::<Int64Type>().iter().collect();
    assert_eq!(lengths, [Some(2), Some(0), Some(3)]);
    assert!(failure(&session, "truncate(v, 2)").await.contains("truncate cannot cut a vector of dimension 0 to 2"));
}

#[tokio::test]
async fn half_floats_stay_half_floats() {
    let half = |number: f32| <Float16Type as arrow::datatypes::ArrowPrimitiveType>::Native::from_f32(number);
    let values = Arc::new(Float16Array::from(vec![half(3.0), half(4.0)]));
    let vectors = FixedSizeListArray::try_new(list_item(DataType::Float16).into(), 2, values, None).unwrap();
    let session = table(vec![("v", Arc::new(vectors))]);
    assert_eq!(floats(&session, "l2_norm(v)").await, [Some(5.0)]);
    assert_eq!(floats(&session, "cosine_distance(v, v)").await, [Some(0.0)]);
    let unit = column(&session, "normalize(v)").await;
    assert_eq!(*unit.data_type(), crate::codec::types::vector_of(DataType::Float16, 2));
    assert_eq!(
        *column(&session, "truncate(v, 1)").await.data_type(),
        crate::codec::types::vector_of(DataType::Float16, 1)
    );
}

#[tokio::test]
async fn vectors_of_no_elements() {
    let session = table(vec![("v", list(&[], 0, Some(vec![true, true, false])))]);
    assert_eq!(floats(&session, "l2_norm(v)").await, [Some(0.0), Some(0.0), None]);
    assert_eq!(floats(&session, "cosine_distance(v, v)").await, [None, None, None]);
    assert_eq!(column(&session, "normalize(v)").await.len(), 3);
}

#[tokio::test]
async fn wrong_arguments_are_named() {
    let session = table(vec![
        ("v", list(&[1.0, 2.0, 3.0], 3, None)),
        ("w", list(&[1.0, 2.0], 2, None)),
        ("n", Arc::new(Int64Array::from(vec![1]))),
    ]);
    let check = async |expr: &str, wanted: &str| {
        let text = failure(&session, expr).await;
        assert!(text.contains(wanted), "{expr}: {text}");
    };
    check("cosine_distance(v, w)", "cosine_distance needs two vectors of one dimension, not of 3 and 2").await;
    check("l2_distance(v, [1.0])", "l2_distance needs two vectors of one dimension, not of 3 and 1").await;
    check(
        "inner_product(v, arrow_cast(w, 'List(Float32)'))",
        "inner_product needs two vectors of one dimension, not of 3 and 2",
    )
    .await;
    check("l2_norm(n)", "l2_norm needs a vector, not Int64").await;
    check("l2_norm(['a'])", "l2_norm needs a vector of numbers, not of Utf8").await;
    check("normalize([1, 2])", "normalize needs a vector of floats").await;
    check("l2_norm(v, v)", "l2_norm takes 1 argument, not 2").await;
    check("truncate(v, 4)", "truncate cannot cut a vector of dimension 3 to 4").await;
    check("truncate(v, 0)", "truncate needs a length of 1 or more").await;
    check("truncate(v, n)", "truncate needs its length as a literal").await;
    check("truncate(n, 2)", "truncate cuts vectors, use trunc for a number").await;
}

#[tokio::test]
async fn datafusions_own_functions_are_unharmed() {
    let session = table(vec![("v", list(&[3.0, 4.0], 2, None))]);
    let three = column(&session, "trunc(3.7)").await;
    assert_eq!(three.as_primitive::<Float64Type>().value(0), 3.0);
    assert_eq!(column(&session, "array_length(v)").await.len(), 1);
    assert_eq!(floats(&session, "dot_product(v, v)").await, [Some(25.0)]);
    assert_eq!(floats(&session, "L2_Norm([3.0, 4.0])").await, [Some(5.0)]);
}

#[test]
fn unions_are_found_at_any_depth() {
    let union = datafusion_functions_json::JSON_UNION_DATA_TYPE.clone();
    let nested =
        DataType::List(Field::new_list_field(DataType::Struct(vec![Field::new("x", union, true)].into()), true).into());
    let schema = Schema::new(vec![Field::new("ok", DataType::Int64, true), Field::new("bad", nested, true)]);
    assert!(check_storable(&schema).unwrap_err().message().starts_with("column \"bad\" has no one type"));
    assert!(check_storable(&Schema::new(vec![Field::new("ok", vector_type(3), true)])).is_ok());
}
