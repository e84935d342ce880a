//! Reading a map's keys with errors that name the line and the key.

use cyrus_types::{Guid, MailboxName, ModSeq, Uid, UidValidity, UniqueId};

use crate::decode::Item;
use crate::limits::AnswerError;
use crate::value::{Value, ValueError};

/// The keys of one answer line, or of a map within it.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a> {
    line: &'a str,
    entries: &'a [(String, Value)],
}

impl<'a> Fields<'a> {
    /// The keys of a line whose value is a map.
    ///
    /// # Errors
    /// When it is something else.
    pub fn of(item: &'a Item) -> Result<Fields<'a>, AnswerError> {
        Fields::within(&item.name, &item.value)
    }

    /// The keys of a map within the line called `line`.
    ///
    /// # Errors
    /// When `value` is not a map.
    pub fn within(line: &'a str, value: &'a Value) -> Result<Fields<'a>, AnswerError> {
        match value.map() {
            Ok(entries) => Ok(Fields { line, entries }),
            Err(source) => Err(AnswerError::Bad { line: line.to_owned(), key: "value", source }),
        }
    }

    /// The name of the line, for messages.
    pub fn line(&self) -> &'a str {
        self.line
    }

    /// Keys and values in the order received.
    pub fn entries(&self) -> &'a [(String, Value)] {
        self.entries
    }

    /// A key's value; `None` if the key is missing or `NIL`.
    pub fn optional(&self, key: &str) -> Option<&'a Value> {
        let found = self.entries.iter().find(|(name, _)| name == key);
        found.map(|(_, value)| value).filter(|value| !value.is_nil())
    }

    /// Reads a required key.
    ///
    /// # Errors
    /// When it is missing, or `read` refuses its value.
    pub fn need<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&'a Value) -> Result<T, ValueError>,
    ) -> Result<T, AnswerError> {
        let line = || self.line.to_owned();
        let value = self.optional(key).ok_or_else(|| AnswerError::Missing { line: line(), key })?;
        read(value).map_err(|source| AnswerError::Bad { line: line(), key, source })
    }

    /// Reads an optional key.
    ///
    /// # Errors
    /// When `read` refuses its value.
    pub fn maybe<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&'a Value) -> Result<T, ValueError>,
    ) -> Result<Option<T>, AnswerError> {
        let Some(value) = self.optional(key) else {
            return Ok(None);
        };
        match read(value) {
            Ok(value) => Ok(Some(value)),
            Err(source) => Err(AnswerError::Bad { line: self.line.to_owned(), key, source }),
        }
    }

    /// Required text. `NIL` and the empty string are the same to Cyrus where it expects text, so a key that is `NIL` gives
    /// an empty string.
    ///
    /// # Errors
    /// When the key is missing or not text.
    pub fn text(&self, key: &'static str) -> Result<String, AnswerError> {
        if self.entries.iter().any(|(name, value)| name == key && value.is_nil()) {
            return Ok(String::new());
        }
        self.need(key, |value| value.str().map(str::to_owned))
    }

    /// Optional text.
    ///
    /// # Errors
    /// When it is not text.
    pub fn text_or_none(&self, key: &'static str) -> Result<Option<String>, AnswerError> {
        self.maybe(key, |value| value.str().map(str::to_owned))
    }

    /// A required 32-bit number.
    ///
    /// # Errors
    /// When it is missing or not such a number.
    pub fn u32(&self, key: &'static str) -> Result<u32, AnswerError> {
        self.need(key, Value::u32)
    }

    /// A required 64-bit number.
    ///
    /// # Errors
    /// When it is missing or not such a number.
    pub fn u64(&self, key: &'static str) -> Result<u64, AnswerError> {
        self.need(key, Value::u64)
    }

    /// A 32-bit number, 0 if it is missing.
    ///
    /// # Errors
    /// When it is not such a number.
    pub fn u32_or_zero(&self, key: &'static str) -> Result<u32, AnswerError> {
        Ok(self.maybe(key, Value::u32)?.unwrap_or(0))
    }

    /// A required unique id.
    ///
    /// # Errors
    /// When the key is missing or not text.
    pub fn unique_id(&self, key: &'static str) -> Result<UniqueId, AnswerError> {
        self.text(key).map(UniqueId::new)
    }

    /// A required internal name of a mailbox.
    ///
    /// # Errors
    /// When the key is missing or not text.
    pub fn mailbox_name(&self, key: &'static str) -> Result<MailboxName, AnswerError> {
        self.text(key).map(MailboxName::new)
    }

    /// A required UID.
    ///
    /// # Errors
    /// When it is missing or not a 32-bit number.
    pub fn uid(&self, key: &'static str) -> Result<Uid, AnswerError> {
        self.u32(key).map(Uid)
    }

    /// A required UIDVALIDITY.
    ///
    /// # Errors
    /// When it is missing or not a 32-bit number.
    pub fn uidvalidity(&self, key: &'static str) -> Result<UidValidity, AnswerError> {
        self.u32(key).map(UidValidity)
    }

    /// A required modseq.
    ///
    /// # Errors
    /// When it is missing or not a 64-bit number.
    pub fn modseq(&self, key: &'static str) -> Result<ModSeq, AnswerError> {
        self.u64(key).map(ModSeq)
    }

    /// A modseq, zero if it is missing.
    ///
    /// # Errors
    /// When it is not a 64-bit number.
    pub fn modseq_or_zero(&self, key: &'static str) -> Result<ModSeq, AnswerError> {
        Ok(self.maybe(key, Value::u64)?.map_or(ModSeq::ZERO, ModSeq))
    }

    /// A required time, in Unix seconds.
    ///
    /// # Errors
    /// When it is missing or not a number.
    pub fn date(&self, key: &'static str) -> Result<i64, AnswerError> {
        self.need(key, Value::date)
    }

    /// A time in Unix seconds, 0 if it is missing.
    ///
    /// # Errors
    /// When it is not a number.
    pub fn date_or_zero(&self, key: &'static str) -> Result<i64, AnswerError> {
        Ok(self.maybe(key, Value::date)?.unwrap_or(0))
    }

    /// A required guid.
    ///
    /// # Errors
    /// When it is missing or not a guid.
    pub fn guid(&self, key: &'static str) -> Result<Guid, AnswerError> {
        self.need(key, Value::guid)
    }

    /// A list; empty if the key is missing.
    ///
    /// # Errors
    /// When it is something else.
    pub fn list_or_empty(&self, key: &'static str) -> Result<&'a [Value], AnswerError> {
        Ok(self.maybe(key, Value::list)?.unwrap_or(&[]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item() -> Item {
        let entries = vec![
            ("N".to_owned(), Value::atom("7")),
            ("T".to_owned(), Value::atom("x y")),
            ("NONE".to_owned(), Value::Nil),
        ];
        Item { name: "THING".into(), value: Value::Map(entries) }
    }

    #[test]
    fn errors_name_line_and_key() {
        let item = item();
        let fields = Fields::of(&item).unwrap();
        assert_eq!(fields.u32("N"), Ok(7));
        assert_eq!(fields.text("T").unwrap(), "x y");
        assert_eq!(fields.u32("M").unwrap_err().to_string(), "the replica's THING answer has no M");
        assert_eq!(
            fields.u64("T").unwrap_err().to_string(),
            "the replica's THING answer has a bad T: expected a 64-bit number, found \"x y\""
        );
    }

    #[test]
    fn missing_and_nil_are_the_same() {
        let item = item();
        let fields = Fields::of(&item).unwrap();
        assert_eq!(fields.modseq_or_zero("NONE"), Ok(ModSeq::ZERO));
        assert_eq!(fields.modseq_or_zero("M"), Ok(ModSeq::ZERO));
        assert_eq!(fields.text("NONE").unwrap(), "");
        assert!(fields.text("M").is_err());
        assert_eq!(fields.text_or_none("NONE"), Ok(None));
        assert!(fields.list_or_empty("M").unwrap().is_empty());
        assert!(fields.list_or_empty("N").is_err());
        let flat = Item { name: "X".into(), value: Value::atom("1") };
        assert!(Fields::of(&flat).is_err());
    }
}
