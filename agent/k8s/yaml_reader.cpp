// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// One YAML document to a tree, from libyaml's events. Events, not a node graph: that would cost several times the
// memory and time, and would expand what an alias bomb asks for.
#include <yaml.h>

#include <algorithm>
#include <exception>
#include <string>
#include <unordered_map>

#include <fmt/format.h>

#include "agent/k8s/document.hpp"
#include "agent/k8s/tree_builder.hpp"

namespace weft::k8s {
namespace {

std::string_view text_of(const yaml_char_t* text) {
    return text == nullptr ? std::string_view{} : reinterpret_cast<const char*>(text);
}

bool is_null(std::string_view text) {
    return text.empty() || text == "~" || text == "null" || text == "Null" || text == "NULL";
}

/// The text up to its last visible character.
std::string_view written(std::string_view text) {
    return text.substr(0, text.find_last_not_of(" \t\r\n") + 1);
}

class Reader {
public:
    Reader(TreeBuilder& builder, DocumentText source)
        : builder_(builder), first_line_(source.first_line),
          last_line_(source.first_line + static_cast<int>(std::ranges::count(written(source.text), '\n'))) {
        ready_ = yaml_parser_initialize(&parser_) != 0;
        if (ready_) {
            yaml_parser_set_encoding(&parser_, YAML_UTF8_ENCODING);
            yaml_parser_set_input_string(&parser_, reinterpret_cast<const unsigned char*>(source.text.data()),
                                         source.text.size());
        }
    }
    Reader(const Reader&) = delete;
    Reader& operator=(const Reader&) = delete;
    ~Reader() {
        if (ready_) {
            yaml_parser_delete(&parser_);
        }
    }

    /// Feeds the builder; throws TreeFault.
    void read() {
        for (bool more = ready_; more;) {
            yaml_event_t event;
            if (yaml_parser_parse(&parser_, &event) == 0) {
                fail();
            }
            const Event owned{event};
            more = take(event);
        }
    }

private:
    struct Event {
        yaml_event_t& event;
        ~Event() { yaml_event_delete(&event); }
    };

    [[nodiscard]] int line(const yaml_mark_t& mark) const { return first_line_ + static_cast<int>(mark.line); }

    [[noreturn]] void fail() const {
        const std::string problem = parser_.problem == nullptr ? "out of memory" : parser_.problem;
        const std::string context = parser_.context == nullptr ? "" : std::string(parser_.context) + ": ";
        // At the end of a text libyaml counts more lines than were written; bytes that are no UTF-8 come without a
        // mark.
        throw TreeFault(parser_.error == YAML_READER_ERROR ? first_line_
                                                           : std::min(line(parser_.problem_mark), last_line_),
                        context + problem);
    }

    /// A new number for a name; a later use of the name means the later value.
    std::size_t anchor(const yaml_char_t* name) {
        return name == nullptr ? 0 : anchors_[std::string(text_of(name))] = ++last_anchor_;
    }

    void alias(const yaml_event_t& event) {
        const auto name = std::string(text_of(event.data.alias.anchor));
        const auto found = anchors_.find(name);
        if (found == anchors_.end()) {
            throw TreeFault(line(event.start_mark), fmt::format("no value is anchored as '{}' before this", name));
        }
        builder_.alias(line(event.start_mark), found->second);
    }

    void scalar(const yaml_event_t& event) {
        const auto& data = event.data.scalar;
        const auto tag = text_of(data.tag);
        const bool quoted = data.style != YAML_PLAIN_SCALAR_STYLE || tag == YAML_STR_TAG || tag == "!";
        const std::string_view text(reinterpret_cast<const char*>(data.value), data.length);
        const auto number = anchor(data.anchor);
        if (!quoted && is_null(text)) {
            builder_.null(line(event.start_mark), number);
        } else {
            builder_.scalar(line(event.start_mark), std::string(text), quoted, number);
        }
    }

    /// False after the last event.
    bool take(const yaml_event_t& event) {
        switch (event.type) {
        case YAML_ALIAS_EVENT:
            alias(event);
            break;
        case YAML_SCALAR_EVENT:
            scalar(event);
            break;
        case YAML_SEQUENCE_START_EVENT:
            builder_.begin(Value::Kind::kSequence, line(event.start_mark), anchor(event.data.sequence_start.anchor));
            break;
        case YAML_MAPPING_START_EVENT:
            builder_.begin(Value::Kind::kMap, line(event.start_mark), anchor(event.data.mapping_start.anchor));
            break;
        case YAML_SEQUENCE_END_EVENT:
        case YAML_MAPPING_END_EVENT:
            builder_.end();
            break;
        case YAML_STREAM_END_EVENT:
            return false;
        default: // begin of the stream, begin and end of a document
            break;
        }
        return true;
    }

    yaml_parser_t parser_{};
    TreeBuilder& builder_;
    int first_line_;
    int last_line_;
    bool ready_ = false;
    std::unordered_map<std::string, std::size_t> anchors_;
    std::size_t last_anchor_ = 0;
};

} // namespace

Document read_yaml(DocumentText source) {
    Document document;
    TreeBuilder builder(document);
    try {
        Reader(builder, source).read();
    } catch (const TreeFault& fault) {
        document.faults.push_back({fault.line, fault.what()});
    } catch (const std::exception& exception) {
        document.faults.push_back({source.first_line, exception.what()});
    }
    if (!document.faults.empty()) {
        builder.salvage();
    }
    return document;
}

} // namespace weft::k8s
