// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// One YAML document to a tree, from yaml-cpp's event interface: its node graph would cost several times the memory and
// time, and would expand what an alias bomb asks for.
#include <exception>
#include <sstream>
#include <streambuf>
#include <string>

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include "agent/k8s/document.hpp"
#include "agent/k8s/tree_builder.hpp"

namespace weft::k8s {
namespace {

class Events : public YAML::EventHandler {
public:
    Events(TreeBuilder& builder, int first_line) : builder_(builder), first_line_(first_line) {}

    void OnDocumentStart(const YAML::Mark&) override {}
    void OnDocumentEnd() override {}
    void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override { builder_.null(line(mark), anchor); }
    void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override { builder_.alias(line(mark), anchor); }
    void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  const std::string& value) override {
        // "?" is a plain scalar; "!" is quoted or a block; !!str says string.
        builder_.scalar(line(mark), value, tag == "!" || tag == "tag:yaml.org,2002:str", anchor);
    }
    void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                         YAML::EmitterStyle::value) override {
        builder_.begin(Value::Kind::kSequence, line(mark), anchor);
    }
    void OnSequenceEnd() override { builder_.end(); }
    void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                    YAML::EmitterStyle::value) override {
        builder_.begin(Value::Kind::kMap, line(mark), anchor);
    }
    void OnMapEnd() override { builder_.end(); }

private:
    [[nodiscard]] int line(const YAML::Mark& mark) const { return first_line_ + mark.line; }

    TreeBuilder& builder_;
    int first_line_;
};

// Reads from memory that somebody else owns, without a copy.
class ViewBuffer : public std::streambuf {
public:
    explicit ViewBuffer(std::string_view text) {
        char* begin = const_cast<char*>(text.data()); // the get area is only read
        setg(begin, begin, begin + text.size());
    }
};

} // namespace

Document read_yaml(DocumentText source) {
    Document document;
    TreeBuilder builder(document);
    try {
        ViewBuffer buffer(source.text);
        std::istream stream(&buffer);
        YAML::Parser parser(stream);
        Events events(builder, source.first_line);
        while (parser.HandleNextDocument(events)) {
        }
    } catch (const TreeFault& fault) {
        document.faults.push_back({fault.line, fault.what()});
    } catch (const YAML::Exception& exception) {
        const int line = exception.mark.is_null() ? 0 : exception.mark.line;
        document.faults.push_back({source.first_line + line, exception.msg});
    } catch (const std::exception& exception) {
        document.faults.push_back({source.first_line, exception.what()});
    }
    if (!document.faults.empty()) {
        builder.salvage();
    }
    return document;
}

} // namespace weft::k8s
