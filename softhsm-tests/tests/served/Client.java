// Says hello over TLS: PORT HOST TRUSTSTORE PASSWORD-FILE KEYSTORE PASSWORD-FILE.
import java.io.*;
import java.net.Socket;
import java.nio.file.*;
import java.security.KeyStore;
import javax.net.ssl.*;

public class Client {
    public static void main(String[] a) throws Exception {
        var trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(store(a[2], password(a[3])));
        var keys = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
        keys.init(store(a[4], password(a[5])), password(a[5]));
        var context = SSLContext.getInstance("TLS");
        context.init(keys.getKeyManagers(), trust.getTrustManagers(), null);
        int port = Integer.parseInt(a[0]);
        var plain = new Socket("127.0.0.1", port);
        var socket = (SSLSocket) context.getSocketFactory().createSocket(plain, a[1], port, true);
        var parameters = socket.getSSLParameters();
        parameters.setEndpointIdentificationAlgorithm("HTTPS");
        socket.setSSLParameters(parameters);
        socket.startHandshake();
        var request = "GET / HTTP/1.0\r\nHost: " + a[1] + "\r\n\r\n";
        socket.getOutputStream().write(request.getBytes());
        System.out.write(socket.getInputStream().readAllBytes());
        System.out.flush();
    }

    static char[] password(String file) throws IOException {
        return Files.readString(Path.of(file)).toCharArray();
    }

    static KeyStore store(String file, char[] password) throws Exception {
        return KeyStore.getInstance(new File(file), password);
    }
}
