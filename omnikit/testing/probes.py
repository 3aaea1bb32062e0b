"""The probe of each kind of component that has a module with tensors in and out."""

from omnikit.testing.backbone_probe import BackboneProbe
from omnikit.testing.codec_probe import CodecProbe
from omnikit.testing.component import Component
from omnikit.testing.encoder_probe import EncoderProbe
from omnikit.testing.head_probe import HeadProbe
from omnikit.testing.probe import Probe
from omnikit.testing.projector_probe import ProjectorProbe
from omnikit.testing.service_probe import ServiceProbe

PROBES: dict[str, type[Probe]] = {"encoder": EncoderProbe, "projector": ProjectorProbe, "backbone": BackboneProbe,
                                  "head": HeadProbe, "codec": CodecProbe}


def probe_of(component: Component) -> Probe:
    """Give what runs a component."""
    return PROBES.get(component.kind, ServiceProbe)(component)
