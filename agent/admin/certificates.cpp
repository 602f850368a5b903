// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/admin/certificates.hpp"

namespace weft::admin {

Certificate describe(const MeshHealth::Certificate& certificate) {
    Certificate to;
    to.set_id(certificate.id);
    to.set_phase(certificate.phase);
    to.set_serial(certificate.serial);
    to.set_seconds_left(certificate.seconds_left);
    to.set_source(certificate.source);
    to.set_error(certificate.error);
    if (certificate.not_after != 0) {
        to.mutable_not_before()->set_seconds(certificate.not_before);
        to.mutable_expires()->set_seconds(certificate.not_after);
    }
    return to;
}

} // namespace weft::admin
