// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Reading and writing of the authority's files; nothing is believed that does not fit together.
#include "agent/ca/authority_files.hpp"

#include <openssl/err.h>

#include "agent/ca/pki/durable_file.hpp"
#include "agent/ca/pki/key.hpp"
#include "weft/base/spiffe_id.hpp"
#include "weft/ktls/credentials.hpp"

namespace weft::ca {
namespace {

using Json = nlohmann::json;

constexpr unsigned kFormat = 1;

Result<Phase> phase_of(const std::string& name) {
    for (const auto phase : {Phase::kNext, Phase::kSigning, Phase::kRetiring}) {
        if (phase_name(phase) == name) {
            return phase;
        }
    }
    return invalid("phase '{}' is unknown", name);
}

Result<seconds> life_field(const Json& object, const char* name) {
    WEFT_ASSIGN(const auto count, json_field<unsigned>(object, name));
    if (count == 0) {
        return invalid("{}: must not be 0", name);
    }
    return seconds(count);
}

Result<SavedState> parse(const Json& object) {
    WEFT_ASSIGN(const auto format, json_field<unsigned>(object, "format"));
    if (format != kFormat) {
        return invalid("format {}: this weft-ca knows format {}", format, kFormat);
    }
    SavedState state{};
    WEFT_ASSIGN(state.trust_domain, json_field<std::string>(object, "trust_domain"));
    WEFT_TRY(check_trust_domain(state.trust_domain));
    WEFT_ASSIGN(state.version, json_field<std::uint64_t>(object, "version"));
    WEFT_ASSIGN(state.last_number, json_field<unsigned>(object, "last_number"));
    WEFT_ASSIGN(state.intermediate, json_field<unsigned>(object, "intermediate"));
    WEFT_ASSIGN(state.intermediate_root, json_field<unsigned>(object, "intermediate_root"));
    WEFT_ASSIGN(state.lives.root, life_field(object, "root_seconds"));
    WEFT_ASSIGN(state.lives.intermediate, life_field(object, "intermediate_seconds"));
    WEFT_ASSIGN(state.lives.node, life_field(object, "node_seconds"));
    WEFT_ASSIGN(state.lives.workload, life_field(object, "workload_seconds"));
    WEFT_ASSIGN(state.lives.server, life_field(object, "server_seconds"));
    const auto roots = object.find("roots");
    if (roots == object.end() || !roots->is_array()) {
        return invalid("roots: missing or no array");
    }
    for (const Json& one : *roots) {
        WEFT_ASSIGN(const auto number, json_field<unsigned>(one, "number"));
        WEFT_ASSIGN(const auto name, json_field<std::string>(one, "phase"));
        WEFT_ASSIGN(const auto phase, phase_of(name));
        WEFT_ASSIGN(const auto has_key, json_field<bool>(one, "has_key"));
        state.roots.push_back({number, phase, has_key});
    }
    return state;
}

} // namespace

Result<SavedState> read_state(const StateFolder& folder) {
    WEFT_ASSIGN(const auto object, folder.read_json(kStateFile));
    auto state = parse(object);
    if (!state) {
        return std::unexpected(state.error().within(folder.file(kStateFile)));
    }
    return state;
}

Result<> write_state(const StateFolder& folder, const SavedState& state) {
    Json roots = Json::array();
    for (const auto& root : state.roots) {
        roots.push_back({{"number", root.number}, {"phase", phase_name(root.phase)}, {"has_key", root.has_key}});
    }
    return folder.write_json(kStateFile, {
                                             {"format", kFormat},
                                             {"trust_domain", state.trust_domain},
                                             {"version", state.version},
                                             {"last_number", state.last_number},
                                             {"roots", std::move(roots)},
                                             {"intermediate", state.intermediate},
                                             {"intermediate_root", state.intermediate_root},
                                             {"root_seconds", state.lives.root.count()},
                                             {"intermediate_seconds", state.lives.intermediate.count()},
                                             {"node_seconds", state.lives.node.count()},
                                             {"workload_seconds", state.lives.workload.count()},
                                             {"server_seconds", state.lives.server.count()},
                                         });
}

std::string root_file(unsigned number) {
    return fmt::format("root-{}", number);
}

std::string intermediate_file(unsigned number) {
    return fmt::format("intermediate-{}", number);
}

Result<> write_pair(const StateFolder& folder, const std::string& name, X509* certificate, EVP_PKEY* key) {
    if (key != nullptr) {
        WEFT_ASSIGN(const auto text, pki::pem_of(key));
        WEFT_TRY(pki::write_durable(folder.file(name + ".key"), text));
    }
    WEFT_ASSIGN(const auto text, pki::pem_of(certificate));
    return pki::write_durable(folder.file(name + ".crt"), text, pki::Access::kWorld);
}

Result<> read_pair(const StateFolder& folder, const std::string& name, bool with_key, OsslPtr<X509>& certificate,
                   OsslPtr<EVP_PKEY>& key) {
    const auto path = folder.file(name);
    WEFT_ASSIGN(const auto text, pki::read_private(path + ".crt", pki::Access::kWorld));
    WEFT_ASSIGN(certificate, only_certificate(path + ".crt", text));
    if (with_key) {
        WEFT_ASSIGN(const auto secret, pki::read_private(path + ".key"));
        WEFT_ASSIGN(key, fitting_key(path + ".key", secret, certificate.get()));
    }
    return {};
}

Result<OsslPtr<X509>> only_certificate(std::string_view what, std::string_view pem) {
    auto all = ktls::certificates_from_pem(pem);
    if (!all) {
        return std::unexpected(all.error().within(what));
    }
    if (all->size() != 1) {
        return invalid("{}: {} certificates where one belongs", what, all->size());
    }
    X509* const only = all->front().get();
    if (X509_check_ca(only) != 1 || (X509_get_key_usage(only) & KU_KEY_CERT_SIGN) == 0) {
        return invalid("{}: this certificate may not sign others (CA:TRUE and keyCertSign)", what);
    }
    return std::move(all->front());
}

Result<OsslPtr<EVP_PKEY>> fitting_key(std::string_view what, std::string_view pem, X509* certificate) {
    auto key = ktls::key_from_pem(pem);
    if (!key) {
        return std::unexpected(key.error().within(what));
    }
    if (X509_check_private_key(certificate, key->get()) != 1) {
        ERR_clear_error();
        return invalid("{}: this key is not the certificate's", what);
    }
    return std::move(*key);
}

} // namespace weft::ca
