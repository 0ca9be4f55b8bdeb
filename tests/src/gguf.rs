//! Writes GGUF, the file format in which llama.cpp takes its models.
//!
//! Only what a small F32 model needs: version 3, little endian, scalar and
//! list metadata, F32 tensors. Knows nothing of what the numbers mean; that is
//! [`crate::model`]. The reader in the tests is there to prove the writer.

use std::io::{self, Write};

/// Where llama.cpp expects tensor data to start: a multiple of this.
const ALIGNMENT: usize = 32;
/// GGUF's code for 32-bit floats among its tensor types.
const TENSOR_F32: u32 = 0;

/// A metadata value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Unsigned 32-bit number.
    U32(u32),
    /// 32-bit float.
    F32(f32),
    /// Truth value.
    Bool(bool),
    /// UTF-8 text.
    Text(String),
    /// List of 32-bit signed numbers.
    I32s(Vec<i32>),
    /// List of 32-bit floats.
    F32s(Vec<f32>),
    /// List of texts.
    Texts(Vec<String>),
}

/// A matrix (`rows` × `columns`, row by row) or, with one row, a vector.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Number of output features.
    pub rows: usize,
    /// Number of input features.
    pub columns: usize,
    /// `rows * columns` numbers.
    pub data: Vec<f32>,
}

impl Tensor {
    /// A matrix of zeros.
    pub fn zeros(rows: usize, columns: usize) -> Self {
        Self {
            rows,
            columns,
            data: vec![0.0; rows * columns],
        }
    }

    /// A vector of ones.
    pub fn ones(columns: usize) -> Self {
        Self {
            rows: 1,
            columns,
            data: vec![1.0; columns],
        }
    }

    /// Sets one weight.
    pub fn set(&mut self, row: usize, column: usize, weight: f32) {
        self.data[row * self.columns + column] = weight;
    }

    /// GGUF's dimensions, the fastest one first.
    fn dimensions(&self) -> Vec<u64> {
        if self.rows == 1 {
            vec![self.columns as u64]
        } else {
            vec![self.columns as u64, self.rows as u64]
        }
    }
}

/// A GGUF file in memory, in the order in which it will be written.
#[derive(Debug, Default)]
pub struct File {
    metadata: Vec<(String, Value)>,
    tensors: Vec<(String, Tensor)>,
}

impl File {
    /// Adds a metadata entry.
    pub fn meta(&mut self, key: &str, value: Value) {
        self.metadata.push((key.to_owned(), value));
    }

    /// Adds a tensor.
    pub fn tensor(&mut self, name: &str, tensor: Tensor) {
        self.tensors.push((name.to_owned(), tensor));
    }

    /// The metadata entry of that name.
    #[cfg(test)]
    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.metadata
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value)
    }

    /// The tensor of that name.
    #[cfg(test)]
    pub(crate) fn get_tensor(&self, name: &str) -> Option<&Tensor> {
        self.tensors
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, tensor)| tensor)
    }

    /// Writes the file: header, metadata, tensor table, padding, data.
    pub fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        let mut head = Vec::new();
        head.extend_from_slice(b"GGUF");
        head.extend_from_slice(&3u32.to_le_bytes());
        head.extend_from_slice(&(self.tensors.len() as u64).to_le_bytes());
        head.extend_from_slice(&(self.metadata.len() as u64).to_le_bytes());
        for (key, value) in &self.metadata {
            put_text(&mut head, key);
            put_value(&mut head, value);
        }
        let mut offset = 0;
        for (name, tensor) in &self.tensors {
            put_text(&mut head, name);
            let dimensions = tensor.dimensions();
            head.extend_from_slice(&(dimensions.len() as u32).to_le_bytes());
            dimensions
                .iter()
                .for_each(|n| head.extend_from_slice(&n.to_le_bytes()));
            head.extend_from_slice(&TENSOR_F32.to_le_bytes());
            head.extend_from_slice(&(offset as u64).to_le_bytes());
            offset += aligned(tensor.data.len() * 4);
        }
        head.resize(aligned(head.len()), 0);
        out.write_all(&head)?;
        for (_, tensor) in &self.tensors {
            let mut bytes: Vec<u8> = tensor.data.iter().flat_map(|w| w.to_le_bytes()).collect();
            bytes.resize(aligned(bytes.len()), 0);
            out.write_all(&bytes)?;
        }
        Ok(())
    }
}

fn aligned(length: usize) -> usize {
    length.next_multiple_of(ALIGNMENT)
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as u64).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn put_value(out: &mut Vec<u8>, value: &Value) {
    let mut code = |n: u32| out.extend_from_slice(&n.to_le_bytes());
    match value {
        Value::U32(n) => {
            code(4);
            out.extend_from_slice(&n.to_le_bytes());
        }
        Value::F32(n) => {
            code(6);
            out.extend_from_slice(&n.to_le_bytes());
        }
        Value::Bool(b) => {
            code(7);
            out.push(u8::from(*b));
        }
        Value::Text(text) => {
            code(8);
            put_text(out, text);
        }
        Value::I32s(list) => {
            put_list_head(out, 5, list.len());
            list.iter()
                .for_each(|n| out.extend_from_slice(&n.to_le_bytes()));
        }
        Value::F32s(list) => {
            put_list_head(out, 6, list.len());
            list.iter()
                .for_each(|n| out.extend_from_slice(&n.to_le_bytes()));
        }
        Value::Texts(list) => {
            put_list_head(out, 8, list.len());
            list.iter().for_each(|text| put_text(out, text));
        }
    }
}

fn put_list_head(out: &mut Vec<u8>, element: u32, length: usize) {
    out.extend_from_slice(&9u32.to_le_bytes());
    out.extend_from_slice(&element.to_le_bytes());
    out.extend_from_slice(&(length as u64).to_le_bytes());
}

#[cfg(test)]
pub(crate) mod read {
    //! Reads back what the writer wrote.
    use super::{ALIGNMENT, File, Tensor, Value};

    struct Cursor<'a>(&'a [u8], usize);

    impl Cursor<'_> {
        fn take<const N: usize>(&mut self) -> [u8; N] {
            let bytes = self.0[self.1..self.1 + N].try_into().expect("enough bytes");
            self.1 += N;
            bytes
        }
        fn u32(&mut self) -> u32 {
            u32::from_le_bytes(self.take())
        }
        fn u64(&mut self) -> usize {
            u64::from_le_bytes(self.take()) as usize
        }
        fn f32(&mut self) -> f32 {
            f32::from_le_bytes(self.take())
        }
        fn text(&mut self) -> String {
            let length = self.u64();
            let text = String::from_utf8(self.0[self.1..self.1 + length].to_vec());
            self.1 += length;
            text.expect("UTF-8")
        }
        fn value(&mut self) -> Value {
            match self.u32() {
                4 => Value::U32(self.u32()),
                6 => Value::F32(self.f32()),
                7 => Value::Bool(self.take::<1>() == [1]),
                8 => Value::Text(self.text()),
                9 => {
                    let (element, length) = (self.u32(), self.u64());
                    match element {
                        5 => Value::I32s((0..length).map(|_| self.u32() as i32).collect()),
                        6 => Value::F32s((0..length).map(|_| self.f32()).collect()),
                        8 => Value::Texts((0..length).map(|_| self.text()).collect()),
                        other => panic!("list of unknown element type {other}"),
                    }
                }
                other => panic!("unknown value type {other}"),
            }
        }
    }

    /// Parses a whole file.
    pub(crate) fn parse(bytes: &[u8]) -> File {
        let mut at = Cursor(bytes, 0);
        assert_eq!(&at.take::<4>(), b"GGUF");
        assert_eq!(at.u32(), 3);
        let (tensors, entries) = (at.u64(), at.u64());
        let metadata = (0..entries).map(|_| (at.text(), at.value())).collect();
        let table: Vec<_> = (0..tensors)
            .map(|_| {
                let name = at.text();
                let dimensions: Vec<usize> = (0..at.u32()).map(|_| at.u64()).collect();
                assert_eq!(at.u32(), 0, "{name} is F32");
                (name, dimensions, at.u64())
            })
            .collect();
        let start = at.1.next_multiple_of(ALIGNMENT);
        let tensors = table
            .into_iter()
            .map(|(name, dimensions, offset)| {
                assert_eq!(offset % ALIGNMENT, 0, "{name} is aligned");
                let (columns, rows) = (dimensions[0], dimensions.get(1).copied().unwrap_or(1));
                let mut at = Cursor(bytes, start + offset);
                let data = (0..rows * columns).map(|_| at.f32()).collect();
                (
                    name,
                    Tensor {
                        rows,
                        columns,
                        data,
                    },
                )
            })
            .collect();
        File { metadata, tensors }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back_the_same() {
        let mut file = File::default();
        file.meta("a.number", Value::U32(7));
        file.meta("a.float", Value::F32(1e-6));
        file.meta("a.flag", Value::Bool(true));
        file.meta("a.text", Value::Text("grüße".into()));
        file.meta("some.numbers", Value::I32s(vec![1, -2, 3]));
        file.meta("some.floats", Value::F32s(vec![0.5, -1e6]));
        file.meta("some.texts", Value::Texts(vec!["x".into(), String::new()]));
        let mut matrix = Tensor::zeros(3, 5);
        matrix.set(2, 4, 9.0);
        matrix.set(0, 1, -1.0);
        file.tensor("matrix", matrix);
        file.tensor("vector", Tensor::ones(7));

        let mut bytes = Vec::new();
        file.write_to(&mut bytes).expect("writing to memory");
        let back = read::parse(&bytes);

        assert_eq!(back.metadata, file.metadata);
        assert_eq!(back.tensors, file.tensors);
    }
}
