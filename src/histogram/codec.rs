//! HdrHistogram's V2 deflate format, after its description in the Java library and
//! `hdrhistogram::serialization`: base64 of a cookie, a length and a zlib stream; in the stream a
//! header of 40 bytes and the counts from the lowest bucket up, as ZigZag LEB128 of at most nine
//! bytes. A negative number stands for so many empty buckets. All integers are big-endian.

use std::cell::RefCell;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::buckets::Buckets;
use super::layout::{N_BUCKETS, highest, n_buckets_to};
use super::{MAX_NS, SIGNIFICANT_FIGURES};

const COOKIE: u32 = 0x1c84_9313;
const DEFLATED_COOKIE: u32 = 0x1c84_9314;
const HEADER_BYTES: usize = 40;
/// Integers are only ever 64 bits: the ninth byte has eight of them and no flag.
const MAX_NUMBER_BYTES: usize = 9;

/// What a stream may inflate to: every bucket with the largest number. Nothing longer can be
/// read, so that a small file cannot ask for a large memory.
const MAX_INFLATED_BYTES: usize = HEADER_BYTES + N_BUCKETS * MAX_NUMBER_BYTES;

/// Largest reach that a histogram needs which tells values up to [`MAX_NS`] apart: buckets come
/// in whole octaves, and libraries that grow them state the end of the last.
const MAX_REACH_NS: u64 = highest(n_buckets_to(MAX_NS) - 1);

/// See [`Buckets::encode`].
pub(super) fn encode(entries: &[(u32, u64)]) -> String {
    let last = entries.last().map_or(0, |&(index, _)| index as usize);
    // Half a kilobyte is a histogram of some hundred values; one of all buckets is rare.
    let mut plain = Vec::with_capacity(512);
    plain.extend(COOKIE.to_be_bytes());
    plain.extend([0; 8]); // The length, filled in below, and the normalizing index offset.
    plain.extend(u32::from(SIGNIFICANT_FIGURES).to_be_bytes());
    plain.extend(1_u64.to_be_bytes());
    // Of the content alone, not of how the buckets grew.
    plain.extend(highest(last).clamp(2, MAX_NS).to_be_bytes());
    plain.extend(1_f64.to_be_bytes());
    let mut next = 0;
    for &(index, count) in entries {
        match index - next {
            0 => {}
            1 => plain.push(0),
            n => put_number(&mut plain, -i64::from(n)),
        }
        put_number(&mut plain, count as i64);
        next = index + 1;
    }
    if entries.is_empty() {
        plain.push(0);
    }
    let length = (plain.len() - HEADER_BYTES) as u32;
    plain[4..8].copy_from_slice(&length.to_be_bytes());

    let mut bytes = Vec::with_capacity(8 + plain.len());
    bytes.extend(DEFLATED_COOKIE.to_be_bytes());
    bytes.extend([0; 4]);
    deflate(&plain, &mut bytes);
    let length = (bytes.len() - 8) as u32;
    bytes[4..8].copy_from_slice(&length.to_be_bytes());
    STANDARD.encode(bytes)
}

/// See [`Buckets::decode`].
pub(super) fn decode(text: &str) -> Result<Buckets, String> {
    let bytes = STANDARD.decode(text).map_err(|e| format!("the histogram is not base64: {e}"))?;
    let mut reader = Reader(&bytes);
    if u32::from_be_bytes(reader.take()?) != DEFLATED_COOKIE {
        return Err("this is not a deflated HdrHistogram of version 2".into());
    }
    let length = u32::from_be_bytes(reader.take()?);
    if length as usize != reader.0.len() {
        return Err(format!(
            "the histogram should have {length} compressed bytes, but has {}",
            reader.0.len()
        ));
    }
    INFLATER.with_borrow_mut(|inflater| decode_plain(inflater.inflate(reader.0)?))
}

fn decode_plain(plain: &[u8]) -> Result<Buckets, String> {
    let mut reader = Reader(plain);
    if u32::from_be_bytes(reader.take()?) != COOKIE {
        return Err("inside, this is not an HdrHistogram of version 2".into());
    }
    let length = u32::from_be_bytes(reader.take()?) as usize;
    let offset = u32::from_be_bytes(reader.take()?);
    let figures = u32::from_be_bytes(reader.take()?);
    let low = u64::from_be_bytes(reader.take()?);
    let high = u64::from_be_bytes(reader.take()?);
    let ratio = f64::from_be_bytes(reader.take()?);
    if offset != 0 || ratio != 1.0 {
        return Err(format!(
            "the histogram is shifted by {offset} buckets or scaled by {ratio}, which is not read"
        ));
    }
    if figures != u32::from(SIGNIFICANT_FIGURES) {
        return Err(format!(
            "histograms of different precision: this one keeps {figures} significant figures, \
             not {SIGNIFICANT_FIGURES}"
        ));
    }
    if low != 1 || !(2..=MAX_REACH_NS).contains(&high) {
        return Err(format!(
            "histograms of different range: this one tells {low} to {high} ns apart, not 1 ns to \
             at most {MAX_NS} ns"
        ));
    }
    if length != reader.0.len() {
        return Err(format!(
            "the histogram should have {length} bytes of counts, but has {}",
            reader.0.len()
        ));
    }
    read_counts(reader, n_buckets_to(high).min(N_BUCKETS))
}

/// The rest as counts of buckets with indexes below `n_buckets`.
fn read_counts(mut reader: Reader, n_buckets: usize) -> Result<Buckets, String> {
    // No more counts than bytes, and mostly as many.
    let mut counts = Vec::with_capacity(reader.0.len().min(n_buckets));
    let mut index = 0;
    while !reader.0.is_empty() {
        let number = reader.number()?;
        let n_here = if number < 0 { number.unsigned_abs() } else { 1 };
        if n_here > (n_buckets - index) as u64 {
            return Err("the histogram has more buckets than its range".into());
        }
        if number > 0 {
            counts.push((index as u32, number as u64));
        }
        index += n_here as usize;
    }
    Buckets::try_from_entries(counts)
}

/// What is left of some bytes.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (taken, rest) = self.0.split_first_chunk().ok_or("the histogram ends early")?;
        self.0 = rest;
        Ok(*taken)
    }

    /// A signed integer of one to nine bytes.
    #[inline]
    fn number(&mut self) -> Result<i64, String> {
        // Nearly all have one.
        if let [byte @ ..0x80, rest @ ..] = self.0 {
            self.0 = rest;
            return Ok(signed(u64::from(*byte)));
        }
        self.long_number()
    }

    fn long_number(&mut self) -> Result<i64, String> {
        let mut zigzag = 0;
        for i in 0..MAX_NUMBER_BYTES - 1 {
            let [byte] = self.take()?;
            zigzag |= u64::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                return Ok(signed(zigzag));
            }
        }
        let [byte] = self.take()?;
        Ok(signed(zigzag | u64::from(byte) << (7 * (MAX_NUMBER_BYTES - 1))))
    }
}

/// 0, 1, 2, 3, 4 stand for 0, −1, 1, −2, 2 and so on.
fn signed(zigzag: u64) -> i64 {
    (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64)
}

fn put_number(bytes: &mut Vec<u8>, number: i64) {
    let mut zigzag = (number << 1 ^ number >> 63) as u64;
    for _ in 1..MAX_NUMBER_BYTES {
        if zigzag < 0x80 {
            break;
        }
        bytes.push(zigzag as u8 | 0x80);
        zigzag >>= 7;
    }
    bytes.push(zigzag as u8);
}

thread_local! {
    /// Setting one up takes longer than deflating a histogram.
    static DEFLATER: RefCell<Compress> = RefCell::new(Compress::new(Compression::fast(), true));
    /// Setting one up costs more than inflating a histogram.
    static INFLATER: RefCell<Inflater> = RefCell::new(Inflater {
        state: Decompress::new(true),
        plain: vec![0; 4096],
    });
}

/// Appends `plain` as a zlib stream.
fn deflate(plain: &[u8], out: &mut Vec<u8>) {
    DEFLATER.with_borrow_mut(|deflater| {
        deflater.reset();
        // What cannot be compressed grows by a few bytes.
        out.reserve(plain.len() + plain.len() / 8 + 64);
        let status = deflater.compress_vec(plain, out, FlushCompress::Finish);
        assert!(matches!(status, Ok(Status::StreamEnd)), "there is room for all of it");
    });
}

struct Inflater {
    state: Decompress,
    plain: Vec<u8>,
}

impl Inflater {
    /// Inflates a whole zlib stream of at most [`MAX_INFLATED_BYTES`].
    fn inflate(&mut self, bytes: &[u8]) -> Result<&[u8], String> {
        loop {
            self.state.reset(true);
            let status = self
                .state
                .decompress(bytes, &mut self.plain, FlushDecompress::Finish)
                .map_err(|e| format!("the histogram cannot be inflated: {e}"))?;
            let (n_in, n_out) = (self.state.total_in() as usize, self.state.total_out() as usize);
            match status {
                Status::StreamEnd if n_in == bytes.len() => return Ok(&self.plain[..n_out]),
                Status::StreamEnd => return Err("something follows the histogram".into()),
                _ if n_out < self.plain.len() => return Err("the histogram ends early".into()),
                _ if n_out >= MAX_INFLATED_BYTES => {
                    return Err("the histogram inflates to more than it can need".into());
                }
                // Rare, so that starting over costs less than keeping the state of halves.
                _ => self.plain.resize((4 * n_out).min(MAX_INFLATED_BYTES), 0),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::Histogram;
    use hdrhistogram::Histogram as Hdr;
    use hdrhistogram::serialization::{Deserializer, Serializer as _, V2DeflateSerializer};
    use proptest::prelude::*;

    const QUANTILES: [f64; 11] = [-1.0, 0.0, 1e-9, 0.1, 0.25, 0.5, 0.9, 0.99, 0.999, 1.0, 2.0];

    /// How the reference writes a histogram.
    fn reference_text(hdr: &Hdr<u64>) -> String {
        let mut bytes = Vec::new();
        V2DeflateSerializer::new().serialize(hdr, &mut bytes).unwrap();
        STANDARD.encode(bytes)
    }

    fn reference_of(mut hdr: Hdr<u64>, values: &[(u64, u64)]) -> Hdr<u64> {
        values.iter().for_each(|(value, n)| hdr.record_n(*value, *n).unwrap());
        hdr
    }

    fn any_values() -> impl Strategy<Value = Vec<(u64, u64)>> {
        let value = prop_oneof![0_u64..5_000, 12_000_000_u64..16_000_000, 0..=MAX_NS];
        prop::collection::vec((value, prop_oneof![Just(1_u64), 1_u64..1 << 40]), 0..300)
    }

    proptest! {
        #[test]
        fn what_the_reference_writes_is_read(values in any_values()) {
            let max = values.iter().map(|(value, _)| *value).max().unwrap_or(0);
            let grown = reference_of(Hdr::new(3).unwrap(), &values);
            // Bounded by the exact maximum is how files of version 1.0 were written.
            let bounded = Hdr::new_with_bounds(1, max.max(2), 3).unwrap();
            let widest = Hdr::new_with_bounds(1, MAX_NS, 3).unwrap();
            let mut texts = Vec::new();
            for hdr in [grown, reference_of(bounded, &values), reference_of(widest, &values)] {
                let buckets = decode(&reference_text(&hdr)).unwrap();
                prop_assert_eq!(buckets.count(), hdr.len());
                for q in QUANTILES.into_iter().chain([f64::NAN]) {
                    prop_assert_eq!(buckets.quantile(q), hdr.value_at_quantile(q), "q = {}", q);
                }
                let theirs: Vec<(u64, u64)> = hdr
                    .iter_recorded()
                    .map(|it| (it.value_iterated_to(), it.count_at_value()))
                    .collect();
                prop_assert_eq!(buckets.iter().collect::<Vec<_>>(), theirs);
                texts.push(buckets.encode());
            }
            prop_assert!(texts.iter().all(|text| *text == texts[0]), "{:?}", texts);
        }

        #[test]
        fn what_we_write_the_reference_reads(values in any_values()) {
            let hdr = reference_of(Hdr::new(3).unwrap(), &values);
            let buckets = decode(&reference_text(&hdr)).unwrap();
            let text = buckets.encode();
            prop_assert_eq!(&decode(&text).unwrap(), &buckets);
            let bytes = STANDARD.decode(text).unwrap();
            let read: Hdr<u64> = Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap();
            prop_assert!(read == hdr, "{} values", hdr.len());
            prop_assert_eq!(read.max(), hdr.max());
        }

        #[test]
        fn merging_adds_as_the_reference_does(left in any_values(), right in any_values()) {
            let [mut ours, theirs, both] = [&left, &right, &[&left[..], &right[..]].concat()]
                .map(|values| reference_of(Hdr::new(3).unwrap(), values))
                .map(|hdr| decode(&reference_text(&hdr)).unwrap());
            ours.merge(&theirs).unwrap();
            prop_assert_eq!(ours.encode(), both.encode());
            prop_assert_eq!(ours, both);
        }

        #[test]
        fn damage_is_refused_or_changes_nothing(
            values in prop::collection::vec(0..=MAX_NS, 0..50),
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
            cut in any::<bool>(),
        ) {
            let mut histogram = Histogram::default();
            values.iter().for_each(|value| histogram.record(*value));
            let mut bytes = STANDARD.decode(histogram.encode()).unwrap();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            bytes.truncate(if cut { at } else { bytes.len() });
            // What no checksum covers means nothing: the level, and bits that fill up a byte.
            if let Ok(buckets) = decode(&STANDARD.encode(bytes)) {
                prop_assert_eq!(buckets, histogram.buckets());
            }
        }

        #[test]
        fn any_counts_in_a_right_frame_never_panic(
            payload in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            if let Ok(buckets) = decode(&framed(&payload)) {
                prop_assert_eq!(decode(&buckets.encode()), Ok(buckets));
            }
        }
    }

    fn deflated(plain: &[u8]) -> String {
        let mut bytes = DEFLATED_COOKIE.to_be_bytes().to_vec();
        bytes.extend([0; 4]);
        deflate(plain, &mut bytes);
        let length = bytes.len() as u32 - 8;
        bytes[4..8].copy_from_slice(&length.to_be_bytes());
        STANDARD.encode(bytes)
    }

    /// Counts behind a right header.
    fn plain(payload: &[u8]) -> Vec<u8> {
        let mut plain = COOKIE.to_be_bytes().to_vec();
        plain.extend((payload.len() as u32).to_be_bytes());
        plain.extend([0, 0, 0, 0, 0, 0, 0, 3]);
        plain.extend(1_u64.to_be_bytes());
        plain.extend(MAX_NS.to_be_bytes());
        plain.extend(1_f64.to_be_bytes());
        plain.extend(payload);
        plain
    }

    fn framed(payload: &[u8]) -> String {
        deflated(&plain(payload))
    }

    #[track_caller]
    fn check_refused(text: &str, part: &str) {
        let problem = decode(text).expect_err(part);
        assert!(problem.contains(part), "{problem}");
    }

    #[test]
    fn headers_that_are_not_ours_are_refused() {
        let with = |at: usize, bytes: &[u8]| {
            let mut plain = plain(&[2]);
            plain[at..at + bytes.len()].copy_from_slice(bytes);
            deflated(&plain)
        };
        assert_eq!(decode(&with(0, &[])).map(|buckets| buckets.count()), Ok(1));
        check_refused("%%%", "not base64");
        check_refused("", "ends early");
        check_refused("AAAA", "ends early");
        check_refused("HISTEwAAAAA=", "not a deflated HdrHistogram");
        check_refused(&with(0, &[1]), "inside, this is not");
        check_refused(&with(7, &[2]), "2 bytes of counts, but has 1");
        check_refused(&with(11, &[1]), "shifted by 1 buckets");
        check_refused(
            &with(15, &[2]),
            "histograms of different precision: this one keeps 2 significant figures, not 3",
        );
        check_refused(&with(23, &[0]), "tells 0 to 3600000000000 ns apart");
        check_refused(&with(23, &[2]), "tells 2 to 3600000000000 ns apart");
        check_refused(&with(24, &[0xff; 8]), "histograms of different range");
        check_refused(&with(24, &[0; 8]), "histograms of different range");
        check_refused(&with(32, &2_f64.to_be_bytes()), "scaled by 2");
        check_refused(&with(32, &f64::NAN.to_be_bytes()), "scaled by NaN");
        check_refused(&deflated(&plain(&[2])[..39]), "ends early");
    }

    #[test]
    fn counts_that_cannot_be_are_refused() {
        let number = |number: i64| {
            let mut bytes = Vec::new();
            put_number(&mut bytes, number);
            bytes
        };
        check_refused(&framed(&[0x80]), "ends early");
        check_refused(&framed(&[0xff; 8]), "ends early");
        check_refused(&framed(&number(i64::MAX)), "more than a histogram can hold");
        let half = number(1 << 61);
        assert!(decode(&framed(&half.repeat(2))).is_ok());
        check_refused(&framed(&half.repeat(3)), "more than a histogram can hold");
        check_refused(&framed(&number(i64::MIN)), "more buckets than its range");
        check_refused(&framed(&number(-40_000)), "more buckets than its range");
        let last = number(1 - N_BUCKETS as i64);
        let quantile = |payload: &[u8]| decode(&framed(payload)).map(|it| it.quantile(1.0));
        assert_eq!(quantile(&[&last[..], &[2]].concat()), Ok(highest(N_BUCKETS - 1)));
        check_refused(&framed(&[&last[..], &[0, 2]].concat()), "more buckets than its range");
        // A histogram to 2 ns has buckets to 2,047 ns in other libraries, but not further.
        let mut short = plain(&[&number(-2048)[..], &[2]].concat());
        short[24..32].copy_from_slice(&2_u64.to_be_bytes());
        check_refused(&deflated(&short), "more buckets than its range");
    }

    #[test]
    fn what_is_left_over_or_too_much_is_refused() {
        let bytes = STANDARD.decode(framed(&[2])).unwrap();
        let with_length = |mut bytes: Vec<u8>| {
            let length = bytes.len() as u32 - 8;
            bytes[4..8].copy_from_slice(&length.to_be_bytes());
            STANDARD.encode(bytes)
        };
        check_refused(&STANDARD.encode([&bytes[..], &[0]].concat()), "compressed bytes, but has");
        check_refused(&with_length([&bytes[..], &[0]].concat()), "something follows");
        check_refused(&with_length(bytes[..bytes.len() - 1].to_vec()), "ends early");
        check_refused(&framed(&vec![0; 20_000_000]), "inflates to more");
        // The largest that can be written: nine bytes in every bucket.
        let largest =
            Buckets::try_from_entries((0..N_BUCKETS as u32).map(|i| (i, 1 << 46)).collect());
        let largest = largest.unwrap();
        assert_eq!(decode(&largest.encode()), Ok(largest));
        // And the largest that can be read, which is refused for its count, not its size.
        check_refused(&framed(&[0xfe; 9].repeat(N_BUCKETS)), "more than a histogram can hold");
    }
}
