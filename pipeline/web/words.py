"""What the page says, in Brazilian Portuguese; the English text is the key."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["DETAILS", "WORDS", "translator"]

_PORTUGUESE = {
    # around everything
    "Skip to content": "Ir para o conteúdo",
    "Views": "Telas",
    "overview": "Visão geral",
    "graph": "Grafo",
    "charts": "Gráficos",
    "journal": "Diário",
    "log": "Eventos",
    "config": "Configuração",
    "connecting": "conectando",
    "This page needs JavaScript.": "Esta página precisa de JavaScript.",
    "All is well": "Tudo em ordem",
    "{n} need attention": "{n} requerem atenção",
    "{n} needs attention": "{n} requer atenção",
    "Connection to the pipeline lost {age} ago; what you see is old. Trying again.": (
        "Conexão com o pipeline perdida há {age}; o que se vê é antigo. Tentando de novo."
    ),
    "The pipeline refuses this page: {reason}. Trying again.": (
        "O pipeline recusa esta página: {reason}. Tentando de novo."
    ),
    "Paused: other windows of this browser show the pipeline. Click to go on.": (
        "Em pausa: outras janelas deste navegador mostram o pipeline. Clique para continuar."
    ),
    "The login has changed.": "O acesso mudou.",
    "Log in again": "Entrar de novo",
    "Connected again": "Conectado de novo",
    "The pipeline has been restarted": "O pipeline foi reiniciado",
    "Language": "Idioma",
    "Theme: automatic": "Tema: automático",
    "Theme: light": "Tema: claro",
    "Theme: dark": "Tema: escuro",
    "Wall display": "Modo painel",
    "Leave the wall display": "Sair do modo painel",
    "Close": "Fechar",
    "running for {age}": "em operação há {age}",
    "That did not work: {reason}": "Não funcionou: {reason}",
    "Loading": "Carregando",
    # overview
    "Search PLCs and tags": "Buscar CLPs e tags",
    "all": "todos",
    "fresh": "atual",
    "failing": "em falha",
    "stale": "desatualizado",
    "bad": "com defeito",
    "{n} bad": "{n} com defeito",
    "Nothing new has come for three periods: see in the graph how its source does.": (
        "Nada de novo em três períodos: veja no grafo como está a fonte."
    ),
    "never read": "nunca lido",
    "No block has been read yet.": "Nenhum bloco foi lido ainda.",
    "Nothing matches.": "Nada corresponde.",
    "all {n} values": "todos os {n} valores",
    "Show all values of {name}": "Mostrar todos os valores de {name}",
    "Show {name} in a chart": "Mostrar {name} em um gráfico",
    "{age} ago": "há {age}",
    "Filter values": "Filtrar valores",
    "{n} of {all}": "{n} de {all}",
    "Snapshot": "Gravar instantâneo",
    "Write the latest minutes of what the PLCs answered to a file": (
        "Gravar em arquivo os últimos minutos do que os CLPs responderam"
    ),
    "Written: {path}": "Gravado: {path}",
    # graph
    "services": "serviço",
    "sources": "fonte",
    "transforms": "transformação",
    "sinks": "destino",
    "Services": "Serviços",
    "Options": "Opções",
    "Counters": "Contadores",
    "Parts": "Partes",
    "Last errors": "Últimos erros",
    "Latest frames": "Quadros recentes",
    "No frame yet": "Nenhum quadro ainda",
    "frames": "quadros",
    "errors": "erros",
    "dropped": "descartados",
    "{n} dropped: {reason}": "{n} descartados: {reason}",
    "running": "em operação",
    "starting": "iniciando",
    "degraded": "com restrições",
    "backing_off": "tentando de novo",
    "stopped": "parado",
    "since": "desde",
    "none": "nenhum",
    "The graph": "O grafo",
    "State": "Estado",
    "line {n} of the file": "linha {n} do arquivo",
    # charts
    "Add a tag": "Adicionar tag",
    "Pick up to 12 tags": "Escolha até 12 tags",
    "Remove {name}": "Remover {name}",
    "Time range": "Período",
    "Download CSV": "Baixar CSV",
    "Back to now": "Voltar ao presente",
    "Pick tags to see how they moved.": "Escolha tags para ver como variaram.",
    "One sample each {period}, kept for {span}. Zoom by dragging or with + and -, move with ← and →, "
    "go back by double-click or 0.": (
        "Uma amostra a cada {period}, guardada por {span}. Amplie arrastando ou com + e -, mova com ← e →, "
        "volte com clique duplo ou 0."
    ),
    "Older than {dense} they are thinned out.": "Acima de {dense}, são rareadas.",
    "more; refine the search": "há mais; refine a busca",
    "no unit": "sem unidade",
    # journal
    "No sink of this graph has a journal.": "Nenhum destino deste grafo tem diário.",
    "waiting": "na fila",
    "frames wait": "quadros na fila",
    "oldest": "mais antigo",
    "headroom": "folga",
    "on disk": "em disco",
    "in flight": "em trânsito",
    "acknowledged": "confirmados",
    "dead letters": "recusados em definitivo",
    "drains at {rate}, empty in {age}": "esvazia a {rate}, vazio em {age}",
    "grows by {rate}": "cresce {rate}",
    "nothing waits": "nada na fila",
    "neither grows nor drains": "nem cresce nem esvazia",
    "Send again": "Enviar de novo",
    "Send all again": "Enviar todos de novo",
    "{n} are sent again": "{n} são enviados de novo",
    "{n} are sent again, {rest} remain: send again for the next": (
        "{n} são enviados de novo, restam {rest}: envie de novo para os próximos"
    ),
    "the oldest {n} of {all}": "os {n} mais antigos de {all}",
    "Show more": "Mostrar mais",
    "refused": "recusado",
    "reason": "motivo",
    "topic": "tópico",
    "Set http.token or http.users to send them again from here, or use: pipeline journal requeue": (
        "Defina http.token ou http.users para reenviar daqui, ou use: pipeline journal requeue"
    ),
    "Time until frames are lost if the receiver stays away": "Tempo até perder quadros se o receptor não voltar",
    "folder": "pasta",
    # log
    "Level": "Nível",
    "Node": "Nó",
    "all nodes": "todos os nós",
    "Search events": "Buscar eventos",
    "debug and above": "debug e acima",
    "info and above": "info e acima",
    "warnings and errors": "avisos e erros",
    "errors only": "só erros",
    "critical": "crítico",
    "No event yet.": "Nenhum evento ainda.",
    "Newest first; the latest thousand are kept.": "Do mais novo ao mais antigo; os últimos mil são guardados.",
    # config
    "This file is good.": "Este arquivo está bom.",
    "This file would be refused.": "Este arquivo seria recusado.",
    "{n} warnings": "{n} avisos",
    "{n} warning": "{n} aviso",
    "{n} errors": "{n} erros",
    "{n} error": "{n} erro",
    "line {n}": "linha {n}",
    "Check again": "Verificar de novo",
    "error": "erro",
    "warning": "aviso",
}
DETAILS = {
    "access level": "nível de acesso",
    "backlog bytes": "tamanho da fila",
    "backlog frames": "quadros na fila",
    "backlog headroom": "folga da fila",
    "backlog oldest age": "idade do mais antigo na fila",
    "certificate": "certificado",
    "client id": "id do cliente",
    "connections": "conexões",
    "jobs": "tarefas paralelas",
    "journal bytes": "tamanho do diário",
    "journal path": "pasta do diário",
    "last seq": "último seq",
    "listen": "escuta em",
    "read failures": "leituras com falha",
    "reads": "leituras",
    "requests": "pedidos por ciclo",
    "slowest answer ms": "resposta mais lenta, ms",
    "subscribed": "avisos de mudança",
    "tls": "TLS",
    "trouble": "problema",
}
"""What operators tell of themselves; a key that is not here is shown as it is."""

_ENGLISH = {
    "overview": "Overview",
    "graph": "Graph",
    "charts": "Charts",
    "journal": "Journal",
    "log": "Log",
    "config": "Config",
    "backing_off": "waiting to retry",
    "bad": "bad values",
    "services": "service",
    "sources": "source",
    "transforms": "transform",
    "sinks": "sink",
}
WORDS = {"pt-BR": DETAILS | _PORTUGUESE, "en": _ENGLISH}
"""By language, what the browser's part of the page looks its texts up in."""


def translator(language: str) -> Callable[[str], str]:
    """The function from an English text or a constant to what the page shows in `pt-BR` or `en`."""
    words = WORDS[language]
    return lambda text: words.get(text, text)
