// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Which documents are objects of ours, of which version, and what becomes of the others.
#include "agent/k8s/parse.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <set>

#include <fmt/format.h>

#include "agent/k8s/field.hpp"
#include "agent/k8s/kinds.hpp"

namespace weft::k8s {
namespace {

struct KindInfo {
    std::string_view kind;
    std::string_view group; ///< empty: the core group
    std::string_view versions; ///< shown to the user
    bool namespaced;
    NameFault (*name_fault)(std::string_view);
};

constexpr std::array kKinds = {
    KindInfo{"Namespace", "", "v1", false, dns_label_fault},
    KindInfo{"Node", "", "v1", false, dns_subdomain_fault},
    KindInfo{"ServiceAccount", "", "v1", true, dns_subdomain_fault},
    KindInfo{"Pod", "", "v1", true, dns_subdomain_fault},
    KindInfo{"Deployment", "apps", "apps/v1", true, dns_subdomain_fault},
    KindInfo{"Service", "", "v1", true, service_name_fault},
    KindInfo{"EndpointSlice", "discovery.k8s.io", "discovery.k8s.io/v1, discovery.k8s.io/v1beta1", true,
             dns_subdomain_fault},
    KindInfo{"NetworkPolicy", "networking.k8s.io", "networking.k8s.io/v1", true, dns_subdomain_fault},
    KindInfo{"MeshTLS", "weft.dev", "weft.dev/v1alpha1", true, dns_subdomain_fault},
    KindInfo{"MeshConfig", "weft.dev", "weft.dev/v1alpha1", false, dns_subdomain_fault},
};

bool same_but_case(std::string_view a, std::string_view b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) {
        return std::tolower(static_cast<unsigned char>(x)) == std::tolower(static_cast<unsigned char>(y));
    });
}

/// A plain text member, for naming an object that may be broken otherwise.
std::string text_of(const Value* value, std::string_view key) {
    const Value* member = value == nullptr ? nullptr : value->find(key);
    return member == nullptr || member->kind != Value::Kind::kScalar ? std::string() : member->text;
}

const KindInfo* kind_info(std::string_view kind) {
    const auto found =
        std::find_if(kKinds.begin(), kKinds.end(), [&](const KindInfo& info) { return info.kind == kind; });
    return found == kKinds.end() ? nullptr : &*found;
}

/// Kind and name as far as they can be read.
ObjectKey key_from(const Value& root, std::string_view kind) {
    const Value* metadata = root.find("metadata");
    ObjectKey key{std::string(kind), text_of(metadata, "namespace"), text_of(metadata, "name")};
    const KindInfo* info = kind_info(kind);
    if (info != nullptr && !info->namespaced) {
        key.namespace_name.clear();
    } else if (info != nullptr && key.namespace_name.empty()) {
        key.namespace_name = "default";
    }
    return key;
}

std::string group_of(std::string_view api_version) {
    const auto slash = api_version.find('/');
    return slash == std::string_view::npos ? std::string() : std::string(api_version.substr(0, slash));
}

Object parse_kind(const KindInfo& info, const Field& root, Meta meta, bool beta) {
    if (info.kind == "Namespace") {
        meta.labels["kubernetes.io/metadata.name"] = meta.name;
        return Namespace{std::move(meta)};
    }
    if (info.kind == "Node") {
        return parse_node(root, std::move(meta));
    }
    if (info.kind == "ServiceAccount") {
        return ServiceAccount{std::move(meta)};
    }
    if (info.kind == "Pod") {
        return parse_pod(root, std::move(meta));
    }
    if (info.kind == "Deployment") {
        return parse_deployment(root, std::move(meta));
    }
    if (info.kind == "Service") {
        return parse_service(root, std::move(meta));
    }
    if (info.kind == "EndpointSlice") {
        return parse_slice(root, std::move(meta), beta);
    }
    if (info.kind == "MeshTLS") {
        return parse_mesh_tls(root, std::move(meta));
    }
    if (info.kind == "MeshConfig") {
        return parse_mesh_config(root, std::move(meta));
    }
    return parse_policy(root, std::move(meta));
}

Meta parse_object_meta(const KindInfo& info, const Field& root, const std::string& file) {
    const Field metadata = root.at("metadata");
    Meta meta = parse_meta(metadata);
    meta.origin = {file, root.line()};
    const Field name = metadata.at("name");
    if (metadata.missing()) {
        metadata.fault("required: add metadata with a name");
    } else if (meta.name.empty()) {
        // A name of a wrong type was recorded when it was read.
        if (name.missing() || name.value()->kind == Value::Kind::kScalar) {
            if (name.missing() || name.value()->text.empty()) {
                name.fault(metadata.has("generateName")
                               ? "required: generateName is not supported in files, give a name"
                               : "required: give the object a name");
            }
        }
    } else {
        name.check(info.name_fault(meta.name));
    }
    const Field space = metadata.at("namespace");
    if (!info.namespaced) {
        if (!meta.namespace_name.empty()) {
            space.fault(fmt::format("a {} has no namespace: remove this line", info.kind));
        }
        meta.namespace_name.clear();
    } else if (meta.namespace_name.empty()) {
        meta.namespace_name = "default";
    } else {
        space.check(dns_label_fault(meta.namespace_name));
    }
    return meta;
}

/// `kind` and `api_version` are given apart, because the items of a PodList may lack them.
void parse_as(const Value& root, const std::string& kind, const std::string& api_version, const std::string& file,
              ParseOutcome& outcome);

void refuse(ParseOutcome& outcome, ObjectKey key, const std::string& file, int line, std::string field,
            std::string message) {
    outcome.refusals.push_back({std::move(key), {file, line}, std::move(field), std::move(message), false});
}

bool parse_list(const Value& root, const std::string& kind, const std::string& api_version, const std::string& file,
                ParseOutcome& outcome) {
    const Value* items = root.find("items");
    if (!kind.ends_with("List") || items == nullptr ||
        (items->kind != Value::Kind::kSequence && items->kind != Value::Kind::kNull)) {
        return false;
    }
    const std::string item_kind = kind.substr(0, kind.size() - 4);
    for (const Value* item : items->items) {
        if (item->find("kind") == nullptr && !item_kind.empty() && item->kind == Value::Kind::kMap) {
            parse_as(*item, item_kind, api_version, file, outcome);
        } else {
            parse_object(*item, file, outcome);
        }
    }
    return true;
}

void parse_as(const Value& root, const std::string& kind, const std::string& api_version, const std::string& file,
              ParseOutcome& outcome) {
    const KindInfo* info = kind_info(kind);
    const std::string group = group_of(api_version);
    // Another project's object of the same name (projectcalico.org NetworkPolicy) is not ours to judge.
    const bool foreign =
        info != nullptr && group != info->group && group.find('.') != std::string::npos && !group.ends_with(".k8s.io");
    if (info == nullptr || foreign) {
        for (const KindInfo& known : kKinds) {
            if (info == nullptr && same_but_case(known.kind, kind)) {
                outcome.incomplete = true;
                refuse(outcome, key_from(root, known.kind), file,
                       root.find("kind") ? root.find("kind")->line : root.line, "kind",
                       fmt::format("'{}' is not a kind: write '{}'", kind, known.kind));
                return;
            }
        }
        ++outcome.ignored[foreign ? fmt::format("{}.{}", kind, group) : kind];
        return;
    }
    const ObjectKey key = key_from(root, kind);
    const std::string_view version = std::string_view(api_version).substr(group.empty() ? 0 : group.size() + 1);
    const bool beta = info->kind == "EndpointSlice" && version == "v1beta1";
    const std::string_view wanted = info->group == "weft.dev" ? "v1alpha1" : "v1";
    if (group != info->group || (version != wanted && !beta)) {
        const Value* at = root.find("apiVersion");
        refuse(outcome, key, file, at == nullptr ? root.line : at->line, "apiVersion",
               api_version.empty()
                   ? fmt::format("required: write {}", info->versions)
                   : fmt::format("'{}' is not read for {}: write {}", api_version, kind, info->versions));
        outcome.incomplete |= key.name.empty();
        return;
    }
    Faults faults{file, key, outcome.refusals};
    const Field field(root, faults);
    Meta meta = parse_object_meta(*info, field, file);
    Object object = parse_kind(*info, field, std::move(meta), beta);
    if (faults.any) {
        outcome.incomplete |= key.name.empty();
        return;
    }
    outcome.objects.push_back(std::move(object));
}

/// Refuses what is defined a second time in the same text, as the two may contradict each other.
void refuse_repeated(const std::string& file, ParseOutcome& outcome) {
    std::map<ObjectKey, int> lines;
    std::vector<Object> kept;
    kept.reserve(outcome.objects.size());
    for (Object& object : outcome.objects) {
        const int line = meta_of(object).origin.line;
        const auto [first, fresh] = lines.try_emplace(key_of(object), line);
        if (fresh) {
            kept.push_back(std::move(object));
        } else {
            refuse(outcome, first->first, file, line, "metadata.name",
                   fmt::format("already defined at line {} of the same file: remove one of the two", first->second));
        }
    }
    outcome.objects = std::move(kept);
}

/// A text that is no manifest at all must not fill logs and status.
void shorten_refusals(const std::string& file, ParseOutcome& outcome) {
    if (outcome.refusals.size() <= kMaxRefusals) {
        return;
    }
    const std::size_t more = outcome.refusals.size() - kMaxRefusals;
    outcome.refusals.resize(kMaxRefusals);
    outcome.incomplete = true; // the objects of those left out are mentioned, too
    refuse(outcome, {}, file, 0, {}, fmt::format("and {} further faults in this file: correct the first ones", more));
}

bool begins_json(std::string_view text) {
    if (text.starts_with("\xef\xbb\xbf")) {
        text.remove_prefix(3);
    }
    const auto first = text.find_first_not_of(" \t\r\n");
    return first != std::string_view::npos && (text[first] == '{' || text[first] == '[');
}

void parse_document(DocumentText source, const std::string& file, ParseOutcome& outcome) {
    Document document;
    DocumentText content = source;
    if (content.text.starts_with("---")) {
        content.text.remove_prefix(3);
    }
    if (begins_json(content.text)) {
        document = read_json(content);
        // YAML's flow style looks like JSON; a .json file is held to JSON and so gets JSON's messages.
        // When it is neither, the reader that got further tells more.
        if (!document.faults.empty() && !file.ends_with(".json")) {
            Document as_yaml = read_yaml(source);
            if (as_yaml.faults.empty() || as_yaml.faults[0].line > document.faults[0].line) {
                document = std::move(as_yaml);
            }
        }
    } else {
        document = read_yaml(source);
    }
    if (document.faults.empty()) {
        if (document.root != nullptr && document.root->kind != Value::Kind::kNull) {
            parse_object(*document.root, file, outcome);
        }
        return;
    }
    ObjectKey key;
    if (document.root != nullptr) {
        key = key_from(*document.root, text_of(document.root, "kind"));
    }
    for (const SyntaxFault& fault : document.faults) {
        refuse(outcome, key, file, fault.line, {},
               fmt::format("the document cannot be read: {}; correct it, what it defined before stays in force",
                           fault.message));
    }
    outcome.incomplete = true;
}

} // namespace

void parse_object(const Value& document, const std::string& file, ParseOutcome& outcome) {
    if (document.kind != Value::Kind::kMap) {
        outcome.incomplete = true;
        refuse(outcome, {}, file, document.line, {},
               "a Kubernetes object is due here: a map with apiVersion, kind and metadata");
        return;
    }
    const std::string kind = text_of(&document, "kind");
    const std::string api_version = text_of(&document, "apiVersion");
    if (kind.empty()) {
        outcome.incomplete = true;
        refuse(outcome, key_from(document, {}), file, document.line, "kind",
               "required: say what kind of object this is");
        return;
    }
    if (!parse_list(document, kind, api_version, file, outcome)) {
        parse_as(document, kind, api_version, file, outcome);
    }
}

ParseOutcome parse_documents(std::string_view text, const std::string& file) {
    ParseOutcome outcome;
    if (text.size() > kMaxTextBytes) {
        outcome.incomplete = true;
        refuse(
            outcome, {}, file, 0, {},
            fmt::format("the file has {} bytes, more than the {} that are read: split it", text.size(), kMaxTextBytes));
        return outcome;
    }
    for (const DocumentText& source : split_documents(text)) {
        parse_document(source, file, outcome);
    }
    refuse_repeated(file, outcome);
    shorten_refusals(file, outcome);
    return outcome;
}

} // namespace weft::k8s
