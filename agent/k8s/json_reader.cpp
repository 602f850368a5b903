// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// One JSON value to a tree (RFC 8259). Written here because we need the line of every value and a bound on depth, and
// because the fast path of a full synchronisation must not pay for a second tree.
#include <cstdint>
#include <string>

#include <fmt/format.h>

#include "agent/k8s/document.hpp"
#include "agent/k8s/tree_builder.hpp"

namespace weft::k8s {
namespace {

class Reader {
public:
    Reader(DocumentText source, TreeBuilder& builder)
        : text_(source.text), line_(source.first_line), builder_(builder) {}

    void document() {
        value();
        blank();
        if (at_ != text_.size()) {
            fail("text after the end of the JSON value");
        }
    }

private:
    [[noreturn]] void fail(const std::string& what) const { throw TreeFault(line_, what); }

    [[nodiscard]] char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

    void blank() {
        for (; at_ < text_.size(); ++at_) {
            if (text_[at_] == '\n') {
                ++line_;
            } else if (text_[at_] != ' ' && text_[at_] != '\t' && text_[at_] != '\r') {
                return;
            }
        }
    }

    void expect(char wanted) {
        if (peek() != wanted) {
            fail(at_ >= text_.size() ? fmt::format("the text ends where '{}' is due", wanted)
                                     : fmt::format("'{}' is due here", wanted));
        }
        ++at_;
    }

    // Depth is bounded by TreeBuilder::begin(), so this recursion is too.
    void value() {
        blank();
        switch (peek()) {
        case '{':
            object();
            break;
        case '[':
            array();
            break;
        case '"': {
            const int line = line_;
            builder_.scalar(line, string(), true);
            break;
        }
        default:
            literal();
        }
    }

    void object() {
        builder_.begin(Value::Kind::kMap, line_);
        ++at_;
        blank();
        if (peek() == '}') {
            ++at_;
            builder_.end();
            return;
        }
        while (true) {
            blank();
            if (peek() != '"') {
                fail("a key in double quotes is due here");
            }
            const int line = line_;
            builder_.scalar(line, string(), true);
            blank();
            expect(':');
            value();
            blank();
            if (peek() != ',') {
                break;
            }
            ++at_;
        }
        expect('}');
        builder_.end();
    }

    void array() {
        builder_.begin(Value::Kind::kSequence, line_);
        ++at_;
        blank();
        if (peek() == ']') {
            ++at_;
            builder_.end();
            return;
        }
        while (true) {
            value();
            blank();
            if (peek() != ',') {
                break;
            }
            ++at_;
        }
        expect(']');
        builder_.end();
    }

    void literal() {
        const std::size_t begin = at_;
        while (at_ < text_.size() && (std::string_view("+-.").find(text_[at_]) != std::string_view::npos ||
                                      (text_[at_] >= '0' && text_[at_] <= '9') ||
                                      (text_[at_] >= 'a' && text_[at_] <= 'z') || text_[at_] == 'E')) {
            ++at_;
        }
        const std::string_view word = text_.substr(begin, at_ - begin);
        if (word == "null") {
            builder_.null(line_);
        } else if (word == "true" || word == "false" ||
                   (!word.empty() && (word[0] == '-' || (word[0] >= '0' && word[0] <= '9')))) {
            builder_.scalar(line_, std::string(word), false);
        } else {
            fail(at_ >= text_.size() ? std::string("the text ends where a value is due")
                                     : std::string("no JSON value"));
        }
    }

    std::uint32_t hex4() {
        if (text_.size() - at_ < 4) {
            fail("the text ends within a \\u escape");
        }
        std::uint32_t code = 0;
        for (int digit = 0; digit < 4; ++digit, ++at_) {
            const char c = text_[at_];
            const int nibble = c >= '0' && c <= '9'   ? c - '0'
                               : c >= 'a' && c <= 'f' ? c - 'a' + 10
                               : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                                      : -1;
            if (nibble < 0) {
                fail("a \\u escape needs four hexadecimal digits");
            }
            code = code << 4 | static_cast<std::uint32_t>(nibble);
        }
        return code;
    }

    void escape(std::string& out) {
        const char c = peek();
        ++at_;
        switch (c) {
        case '"':
        case '\\':
        case '/':
            out += c;
            return;
        case 'b':
            out += '\b';
            return;
        case 'f':
            out += '\f';
            return;
        case 'n':
            out += '\n';
            return;
        case 'r':
            out += '\r';
            return;
        case 't':
            out += '\t';
            return;
        case 'u':
            break;
        default:
            fail("unknown escape in a string");
        }
        std::uint32_t code = hex4();
        if (code >= 0xd800 && code < 0xdc00 && text_.substr(at_, 2) == "\\u") {
            at_ += 2;
            const std::uint32_t low = hex4();
            if (low < 0xdc00 || low > 0xdfff) {
                fail("half of a surrogate pair in a string");
            }
            code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        } else if (code >= 0xd800 && code <= 0xdfff) {
            fail("half of a surrogate pair in a string");
        }
        append_utf8(out, code);
    }

    static void append_utf8(std::string& out, std::uint32_t code) {
        if (code < 0x80) {
            out += static_cast<char>(code);
        } else if (code < 0x800) {
            out += static_cast<char>(0xc0 | code >> 6);
            out += static_cast<char>(0x80 | (code & 0x3f));
        } else if (code < 0x10000) {
            out += static_cast<char>(0xe0 | code >> 12);
            out += static_cast<char>(0x80 | (code >> 6 & 0x3f));
            out += static_cast<char>(0x80 | (code & 0x3f));
        } else {
            out += static_cast<char>(0xf0 | code >> 18);
            out += static_cast<char>(0x80 | (code >> 12 & 0x3f));
            out += static_cast<char>(0x80 | (code >> 6 & 0x3f));
            out += static_cast<char>(0x80 | (code & 0x3f));
        }
    }

    std::string string() {
        ++at_;
        std::string out;
        while (true) {
            const std::size_t plain = at_;
            while (at_ < text_.size() && text_[at_] != '"' && text_[at_] != '\\' &&
                   static_cast<unsigned char>(text_[at_]) >= 0x20) {
                ++at_;
            }
            out.append(text_, plain, at_ - plain);
            if (at_ >= text_.size()) {
                fail("the text ends within a string");
            }
            const char c = text_[at_++];
            if (c == '"') {
                return out;
            }
            if (c != '\\') {
                fail("a control character in a string: write it as an escape");
            }
            escape(out);
        }
    }

    std::string_view text_;
    std::size_t at_ = 0;
    int line_;
    TreeBuilder& builder_;
};

} // namespace

Document read_json(DocumentText source) {
    if (source.text.starts_with("\xef\xbb\xbf")) { // a byte order mark
        source.text.remove_prefix(3);
    }
    Document document;
    TreeBuilder builder(document);
    try {
        Reader(source, builder).document();
    } catch (const TreeFault& fault) {
        document.faults.push_back({fault.line, fault.what()});
        builder.salvage();
    }
    return document;
}

} // namespace weft::k8s
