//! The texts of a body: where each is, and what it is; and the same body with other texts in their place.

/// What a text is. See `origin` in the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Origin {
    /// A system prompt.
    System,
    /// What the user wrote.
    User,
    /// What the model wrote.
    Assistant,
    /// What the model thought.
    Reasoning,
    /// Arguments of a tool that the model calls.
    ToolInput,
    /// What a tool gave.
    ToolResult,
    /// What a tool is.
    ToolDefinition,
    /// A document, or what is said of one.
    Document,
    /// What a citation quotes, and of what.
    Citation,
    /// Any other text.
    Other,
}

impl Origin {
    /// All, in the contract's order.
    pub const ALL: [Self; 10] = [
        Self::System,
        Self::User,
        Self::Assistant,
        Self::Reasoning,
        Self::ToolInput,
        Self::ToolResult,
        Self::ToolDefinition,
        Self::Document,
        Self::Citation,
        Self::Other,
    ];

    /// The contract's name.
    pub fn name(self) -> &'static str {
        [
            "system",
            "user",
            "assistant",
            "reasoning",
            "tool-input",
            "tool-result",
            "tool-definition",
            "document",
            "citation",
            "other",
        ][self as usize]
    }
}
