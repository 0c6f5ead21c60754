"""The words of the tables, in the two languages of the README."""

from __future__ import annotations

__all__ = ["FIGURES", "LOADS", "NOTES", "Language"]

Language = int
"""0: English, 1: Portuguese."""

LOADS: dict[str, tuple[str, str]] = {
    "frame": ("20 PLCs x 50 Hz, 14 bytes, 7 tags, QoS 1", "20 CLPs x 50 Hz, 14 bytes, 7 tags, QoS 1"),
    "dense": ("50 PLCs x 100 Hz, same", "50 CLPs x 100 Hz, idem"),
    "wide": ("100 PLCs x 200 REALs, 1 Hz", "100 CLPs x 200 REALs, 1 Hz"),
    "fleet": (
        "10 to 1,000 PLCs x 50 mixed tags, 1 Hz, one process",
        "10 a 1.000 CLPs x 50 tags mistas, 1 Hz, um processo",
    ),
    "top": ("as fast as it goes, 14 bytes", "o mais rápido possível, 14 bytes"),
    "latency": ("PLC's answer to subscriber, 20 x 50 Hz", "da resposta do CLP ao assinante, 20 x 50 Hz"),
    "drain": ("1,000,000 frames stored, the broker returns", "1.000.000 de frames guardados, o broker volta"),
    "append": ("20 x 50 Hz, broker away", "20 x 50 Hz, sem broker"),
    "write_ahead": ("20 x 50 Hz, on disk before it is sent", "20 x 50 Hz, em disco antes do envio"),
    "idle": ("1 PLC x 1 Hz, everything on", "1 CLP x 1 Hz, tudo ligado"),
    "start": ("process start to first frame", "do início do processo ao primeiro frame"),
    "decode": ("a block's bytes to values", "dos bytes do bloco aos valores"),
    "scrape": ("`/metrics` with 20,000 values, without a pause", "`/metrics` com 20.000 valores, sem pausa"),
    "page": ("page open, 100 PLCs x 200 REALs, 1 Hz", "página aberta, 100 CLPs x 200 REALs, 1 Hz"),
    "rx": ("source to sink, in the process", "da fonte ao destino, no processo"),
}

FIGURES: dict[str, tuple[str, str]] = {
    "ratio": ("Telegraf's CPU per frame / ours", "CPU por frame do Telegraf / nossa"),
    "cpu": ("CPU per frame", "CPU por frame"),
    "telegraf_cpu": ("Telegraf's CPU per frame", "CPU por frame do Telegraf"),
    "delivered": ("delivered", "entregue"),
    "telegraf_delivered": ("Telegraf delivered", "entregue pelo Telegraf"),
    "own_memory": ("memory without the mapped journal", "memória sem o journal mapeado"),
    "memory": ("memory", "memória"),
    "telegraf_memory": ("Telegraf's memory", "memória do Telegraf"),
    "core": ("of a core", "de um núcleo"),
    "plcs": ("PLCs with every tick kept", "CLPs com todos os ciclos cumpridos"),
    "skipped": ("ticks missed", "ciclos perdidos"),
    "memory_each": ("memory for each PLC more", "memória por CLP a mais"),
    "rate": ("frames acknowledged", "frames confirmados"),
    "rate_of_core": ("frames a second of CPU", "frames por segundo de CPU"),
    "latency_50": ("median", "mediana"),
    "latency_99": ("p99", "p99"),
    "latency_99_9": ("p99.9", "p99.9"),
    "latency_100": ("largest", "máximo"),
    "drain_rate": ("drained", "escoados"),
    "live_50": ("live median meanwhile, at 2,000/s", "mediana ao vivo enquanto isso, a 2.000/s"),
    "live_99": ("live p99 meanwhile, at 2,000/s", "p99 ao vivo enquanto isso, a 2.000/s"),
    "away_cpu": ("CPU per frame / with the broker", "CPU por frame / com o broker"),
    "disk": ("disk / encoded bytes", "disco / bytes codificados"),
    "disk_zstd": ("disk / encoded bytes, zstd", "disco / bytes codificados, zstd"),
    "cpu_away": ("CPU per frame, broker away", "CPU por frame, sem broker"),
    "cpu_away_zstd": ("the same with zstd", "o mesmo com zstd"),
    "written": ("written / encoded bytes", "escritos / bytes codificados"),
    "cpu_default": ("CPU per frame by default", "CPU por frame no padrão"),
    "cpu_ahead": ("on disk first", "primeiro em disco"),
    "latency_50_default": ("median by default", "mediana no padrão"),
    "latency_50_ahead": ("on disk first", "primeiro em disco"),
    "latency_99_default": ("p99 by default", "p99 no padrão"),
    "latency_99_ahead": ("on disk first", "primeiro em disco"),
    "written_kB_default": ("written by default", "escritos no padrão"),
    "written_kB_ahead": ("on disk first", "primeiro em disco"),
    "first_frame": ("first frame", "primeiro frame"),
    "faster_7": ("faster than python-snap7, 7 fields", "mais rápido que python-snap7, 7 campos"),
    "faster_200": ("200 fields", "200 campos"),
    "faster_2000": ("2,000 fields", "2.000 campos"),
    "decode_7": ("7 fields", "7 campos"),
    "decode_200": ("200 fields", "200 campos"),
    "decode_2000": ("2,000 fields", "2.000 campos"),
    "late_max": ("no tick later than", "nenhum ciclo atrasa mais que"),
    "late_max_quiet": ("without scrapes", "sem leituras"),
    "answer_max": ("latest answer, by its time stamp", "resposta mais atrasada, pelo seu horário"),
    "answer_max_quiet": ("latest answer without scrapes", "resposta mais atrasada sem leituras"),
    "scrape_time": ("a scrape takes", "uma leitura leva"),
    "page_cpu": ("CPU with the page / without", "CPU com a página / sem"),
    "page_told": ("sent to it", "enviados a ela"),
    "rx_none": ("directly", "diretamente"),
    "rx_transform": ("a transform of Rx adds", "uma transformação de Rx acrescenta"),
    "rx_operator": ("each further operator adds", "cada operador a mais acrescenta"),
}

NOTES: dict[str, str] = {
    "frame": (
        "Both sides read the same PLCs and publish to the same Mosquitto with QoS 1, without TLS, one JSON message for "
        "each PLC and reading. We also journal what is not acknowledged in time, number each frame, serve page and "
        "metrics, and publish at once. Telegraf gathers for 100 ms and keeps what is unsent in memory only. Each "
        "speaks the MQTT that it speaks by default: Telegraf 3.1.1, we 5. Rounds differ: four more, at `faac4fe991` "
        "while the machine did other work too, gave 2.8x (2.16 to 3.15)."
    ),
    "wide": "The block of 800 bytes is two requests for us; `s7comm` asks for each of the 200 values, 20 in a request.",
    "latency": (
        "A proxy before the PLCs numbers each answer and notes when it sent it on; the subscriber finds that number in "
        "the frame. Proxy, broker and subscriber share the machine with the pipeline, and their time is in it."
    ),
    "start": "Seen at a subscriber.",
    "drain": (
        "Two runs: as fast as it goes in `fifo` order, where what is live waits behind the backlog; and `live_first` "
        "at its default pace of 2,000/s, to which the latencies belong. Without that pace they rise: p99 45 ms at "
        "52,000/s, measured once."
    ),
    "append": (
        "Disk is what the journal's files take when the minute is over. The PLCs' values stand still, so that zstd has "
        "only times and numbers to keep; where REALs move by a little it comes to 0.2x."
    ),
    "idle": "The kernel counts CPU time in ticks of 10 ms: 0.1% is six of them in a minute.",
    "write_ahead": "With `commit_interval: 0s` and `keep_after_ack: 1h`.",
    "top": "S7 servers, broker and subscriber share the two cores with the pipeline, which uses one.",
    "scrape": "Ticks by the pipeline's own histogram, `edge_tick_late_seconds`: a bound of it. It has a core of its own"
    " here; those who ask and answer it share the other, and an answer waits for them too.",
    "page": (
        "The overview with twelve cards in sight, as a browser asks for it. The values stand still; where all of them "
        "move 5 kB/s are sent, for about the same CPU."
    ),
    "rx": "A frame through the port alone, through an Rx transform with one operator, and for each operator more.",
}
