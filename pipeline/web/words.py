"""What the page says, in Brazilian Portuguese; the English text is the key."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["DETAILS", "PORTUGUESE", "translator"]

PORTUGUESE = {
    "All is well.": "Tudo em ordem.",
    "Connection to the pipeline lost; what you see is old.": "Conexão com o pipeline perdida; o que se vê é antigo.",
    "Needs attention": "Requer atenção",
    "No block has been read yet.": "Nenhum bloco foi lido ainda.",
    "Parts": "Partes",
    "Values": "Valores",
    "age": "idade",
    "backing_off": "aguardando nova tentativa",
    "degraded": "com restrições",
    "dropped": "descartados",
    "errors": "erros",
    "failing": "em falha",
    "fails": "falha",
    "frames": "quadros",
    "fresh": "atual",
    "is stale": "está desatualizado",
    "never read": "nunca lido",
    "running": "em operação",
    "running for": "em operação há",
    "services": "serviço",
    "since": "há",
    "sinks": "destino",
    "sources": "fonte",
    "stale": "desatualizado",
    "starting": "iniciando",
    "stopped": "parado",
    "transforms": "transformação",
}

DETAILS = {
    "access level": "nível de acesso",
    "backlog bytes": "tamanho da fila",
    "backlog frames": "quadros na fila",
    "backlog headroom": "folga da fila",
    "backlog oldest age": "idade do mais antigo na fila",
    "bad": "com defeito",
    "certificate": "certificado",
    "client id": "id do cliente",
    "connections": "conexões",
    "dead letters": "recusados em definitivo",
    "in flight": "em trânsito",
    "jobs": "tarefas paralelas",
    "journal bytes": "tamanho do diário",
    "journal path": "pasta do diário",
    "last seq": "último seq",
    "listen": "escuta em",
    "reads": "leituras",
    "requests": "pedidos por ciclo",
    "subscribed": "avisos de mudança",
    "tls": "TLS",
    "trouble": "problema",
}
"""What operators tell of themselves; a key that is not here is shown as it is."""

_ENGLISH = {
    "backing_off": "waiting to retry",
    "services": "service",
    "since": "for",
    "sinks": "sink",
    "sources": "source",
    "transforms": "transform",
}


def translator(language: str) -> Callable[[str], str]:
    """The function from an English text or a constant to what the page shows in `pt-BR` or `en`."""
    words = PORTUGUESE | DETAILS if language == "pt-BR" else _ENGLISH
    return lambda text: words.get(text, text)
