"""python av_encode.py IN CODEC RATE OUT: encode audio with PyAV, for codecs that a distribution's ffmpeg has not."""
import sys

import av

source, codec, rate, out = sys.argv[1:]
with av.open(source) as read, av.open(out, "w") as write:
    stream = write.add_stream(codec, rate=int(rate), layout="mono")
    resampler = av.AudioResampler("s16", "mono", int(rate), frame_size=160)
    for frame in [*read.decode(audio=0), None]:
        for piece in resampler.resample(frame):
            write.mux(stream.encode(piece))
    write.mux(stream.encode(None))
