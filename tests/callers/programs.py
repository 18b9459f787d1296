"""What sends mail by a library: the same message from each, with what goes wrong most easily in it.

The arguments of each script tell the way that it is to go.
"""

CONTENT = "Grüße\n.\n..x\nFrom here\n"

PHP = r"""<?php
$sent = mail('you@b.example', '=?UTF-8?B?R3LDvMOfZQ==?=', "Grüße\n.\n..x\nFrom here\n",
    ['From' => 'me@x.example', 'X-Mine' => 'yes', 'Bcc' => 'hid@b.example', 'Content-Type' => 'text/plain; charset=UTF-8'],
    $argv[1] ?? '');
exit($sent ? 0 : 1);
"""

PHPMAILER = r"""<?php
require 'libphp-phpmailer/autoload.php';
$mail = new PHPMailer\PHPMailer\PHPMailer(true);
[, $way, $port] = $argv;
$mail->{"is$way"}();
[$mail->Host, $mail->Port] = ['127.0.0.1', (int) $port];
[$mail->CharSet, $mail->Encoding, $mail->Subject, $mail->Body] = ['utf-8', '8bit', 'Grüße', "Grüße\n.\n..x\nFrom here\n"];
$mail->setFrom('me@x.example', 'Jörg');
$mail->addAddress('you@b.example', 'Doe, J');
$mail->addBCC('hid@b.example');
$mail->send();
"""

SYMFONY = r"""<?php
foreach (['Mailer', 'Mime', 'EventDispatcher'] as $component) {
    require_once "Symfony/Component/$component/autoload.php";
}
use Symfony\Component\Mailer\{Mailer, Transport};
use Symfony\Component\Mime\{Address, Email};
$mailer = new Mailer(Transport::fromDsn($argv[1]));
for ($count = 0; $count < (int) $argv[2]; $count++) {
    $mail = new Email();
    $mail->from(new Address('me@x.example', 'Jörg'))->to(new Address('you@b.example', 'Doe, J'))->bcc('hid@b.example');
    $mailer->send($mail->subject('Grüße')->text("Grüße\n.\n..x\nFrom here\n"));
}
"""

MIME_LITE = r"""
use utf8;
use MIME::Lite;
my $text = "Grüße\n.\n..x\nFrom here\n";
utf8::encode($text);
my %fields = (From => 'me@x.example', To => 'you@b.example', Bcc => 'hid@b.example', Subject => '=?UTF-8?B?R3LDvMOfZQ==?=');
my $mail = MIME::Lite->new(%fields, Type => 'text/plain; charset=UTF-8', Encoding => '8bit', Data => $text);
$mail->send('sendmail', @ARGV) or die;
"""

EMAIL_SENDER = r"""
use utf8;
use Email::Sender::Simple qw(sendmail);
use Email::Sender::Transport::Sendmail;
use Email::Simple;
my $text = "Grüße\n.\n..x\nFrom here\n";
utf8::encode($text);
my @fields = (From => 'me@x.example', To => 'you@b.example', Subject => '=?UTF-8?B?R3LDvMOfZQ==?=');
my $mail = Email::Simple->create(header => [@fields, 'Content-Type' => 'text/plain; charset=UTF-8'], body => $text);
my %envelope = (from => 's@x.example', to => ['you@b.example', 'hid@b.example']);
sendmail($mail, {%envelope, transport => Email::Sender::Transport::Sendmail->new});
"""
